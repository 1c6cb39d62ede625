"""Identity score of uniform colors."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.metrics import BrightnessHeatmaps, compute_scores
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.identity import Identity
from wav2lip.evaluation.metrics.torchscript import load_torchscript


class MeanColor(nn.Module):
    """Face embedding: the mean color."""

    def forward(self, faces):
        return faces.mean(dim=(2, 3))


def test_identity_is_the_cosine_of_embeddings(tmp_path):
    torch.jit.save(torch.jit.trace(MeanColor(), torch.zeros(2, 3, 112, 112)), tmp_path / "colors.pt")
    network = load_torchscript(tmp_path / "colors.pt", "--identity_network")
    red, white = np.full((40, 40, 3), (255, 0, 0), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    assert compute_scores(Identity(network), [white], source=[white]).values["identity"] == pytest.approx(1)
    # (1, -1, -1) with (1, 1, 1)
    assert compute_scores(Identity(network), [red], source=[white]).values["identity"] == pytest.approx(
        -1 / 3, abs=1e-5
    )
    assert "--identity_network" in compute_scores(Identity(None), [red], source=[red]).missing["identity"]


def test_network_with_wrong_output_shape_is_rejected(faces):
    with pytest.raises(InputError, match=r"must be \(N, D\)"):
        compute_scores(Identity(BrightnessHeatmaps()), faces, source=faces)
