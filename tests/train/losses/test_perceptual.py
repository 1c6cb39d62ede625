"""The perceptual loss against torchvision's VGG, on RGB lower halves."""

import re

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms.functional import normalize

from train.losses.perceptual import VGGFeatures
from wav2lip.errors import InputError

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2")
LAYER_INDICES = {"vgg16": [3, 8, 13, 20], "vgg19": [3, 8, 13, 22]}  # indices of LAYERS in torchvision's networks


@pytest.fixture(scope="module", params=[("vgg16", "D"), ("vgg19", "E")], ids=lambda param: param[0])
def vgg(request, tmp_path_factory):
    kind, letter = request.param
    torch.manual_seed(0)
    network = make_layers(cfgs[letter])
    state = {f"features.{key}": value for key, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / f"{kind}.pth"
    torch.save(state | {"classifier.0.weight": torch.zeros(4)}, path)  # the classifier is ignored
    return kind, network, path


def test_loss_is_mean_l1_of_torchvisions_features(vgg):
    kind, network, path = vgg
    fake, real = torch.rand(2, 3, 5, 32, 32, requires_grad=True), torch.rand(2, 3, 5, 32, 32)
    actual = VGGFeatures.from_file(path, LAYERS)(fake, real)
    by_layer = []
    for index in LAYER_INDICES[kind]:
        distances = []
        for sample in range(2):
            for time in range(5):
                images = [frames[sample, [2, 1, 0], time, 16:] for frames in (fake, real)]  # BGR -> RGB
                maps = [
                    network[: index + 1](normalize(p, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None])
                    for p in images
                ]
                distances.append(F.l1_loss(*maps))
        by_layer.append(sum(distances) / 10)
    expected = sum(by_layer) / 4
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad(loss, fake)[0] for loss in (actual, expected)]
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-7)


def test_weights_are_frozen(vgg):
    assert not any(p.requires_grad for p in VGGFeatures.from_file(vgg[2], LAYERS).parameters())


def test_wrong_weights_and_layers_are_rejected(vgg, tmp_path):
    kind, network, path = vgg
    with pytest.raises(InputError, match=rf"vgg_layers=\[relu9_1\]: .*{kind}, got relu9_1"):
        VGGFeatures.from_file(path, ["relu9_1"])
    with pytest.raises(InputError, match=re.escape("vgg_layers=[]: must be ReLU layers")):
        VGGFeatures.from_file(path, [])
    state = {f"features.{key}": value for key, value in network.state_dict().items()}
    other = tmp_path / "other.pth"
    torch.save({key: value for key, value in state.items() if not key.startswith("features.0")}, other)
    with pytest.raises(InputError, match=re.escape(f"vgg_weights={other}: must be a state_dict")):
        VGGFeatures.from_file(other, LAYERS)
    torch.save(state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, other)
    with pytest.raises(InputError, match=re.escape(f"{other}: its weights do not fit torchvision's {kind}")):
        VGGFeatures.from_file(other, LAYERS)
