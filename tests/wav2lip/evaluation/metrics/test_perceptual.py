"""LPIPS against its formula."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from tests.helpers.metrics import compute_scores
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.perceptual import CHANNELS, LPIPS, PerceptualDistance


def test_lpips_equals_the_formula(tmp_path):
    torch.manual_seed(0)
    alexnet_trunk = alexnet(weights=None)
    weights = {f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate(CHANNELS)}
    torch.save(alexnet_trunk.state_dict(), tmp_path / "alexnet.pth")
    torch.save(weights, tmp_path / "alex.pth")
    network = LPIPS.from_files(tmp_path / "alexnet.pth", tmp_path / "alex.pth")
    images, truth = torch.rand(2, 3, 70, 80), torch.rand(2, 3, 70, 80)
    shift, scale = torch.tensor([-0.03, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.45])
    expected = torch.zeros(2)
    a, b = (((2 * p - 1).movedim(1, -1) - shift) / scale for p in (images, truth))
    a, b = a.movedim(-1, 1), b.movedim(-1, 1)
    num_layers = 0
    for layer in alexnet_trunk.features:
        a, b = layer(a), layer(b)
        if isinstance(layer, nn.ReLU):
            unit = [x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in (a, b)]
            weighted = ((unit[0] - unit[1]) ** 2 * weights[f"lin{num_layers}.model.1.weight"]).sum(dim=1)
            expected += weighted.flatten(1).mean(dim=1).detach()
            num_layers += 1
    assert num_layers == 5
    assert network(images, truth) == pytest.approx(expected, rel=1e-4)
    assert network(images, images).tolist() == [0, 0]
    small = [np.zeros((33, 40, 3), np.uint8)]
    assert compute_scores(PerceptualDistance(network), small, small).values == {"lpips": 0}


def test_lpips_names_missing_and_wrong_weights(faces, tmp_path):
    assert "--lpips_weights FILE" in compute_scores(PerceptualDistance(None), faces, faces).missing["lpips"]
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"wrong.pth: has no 'features.0.weight'"):
        LPIPS.from_files(tmp_path / "wrong.pth", tmp_path / "wrong.pth")
