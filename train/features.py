"""The optional perceptual term: frames compared by what a network that knows pictures sees in them.

VGG: Simonyan and Zisserman 2015; the loss: Johnson et al. 2016, with L1 in place of L2. The weights are the user's:
a state_dict of torchvision's vgg16 or vgg19, for instance vgg19-dcbb9e9d.pth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import fold_time
from wav2lip.checkpoints import PathType, load_checkpoint
from wav2lip.errors import InputError

CHANNELS = (64, 128, 256, 512, 512)  # of the five blocks, each after a halving but the first
CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # 3 x 3 convolutions of each block
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB, which the weights were learned on


class Features(nn.Module):
    """Mean over layers of the mean absolute difference of their maps, of the lower half of frames."""

    mean: Tensor
    spread: Tensor

    def __init__(self, kind: str, layers: Sequence[str]):
        """kind: vgg16 or vgg19; layers: names such as relu3_2, the second ReLU of the third block.

        Raises: ValueError for a layer that the network has not.
        """
        super().__init__()
        names = layer_names(kind)
        unknown = [layer for layer in layers if not layer.startswith("relu") or layer not in names]
        if unknown or not layers:
            raise ValueError(f"{unknown[0] if unknown else 'nothing'} is no layer of {kind}")
        self.places = {names.index(layer) for layer in layers}
        self.features = layers_of(names[: max(self.places) + 1])
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(3, 1, 1), persistent=False)

    @classmethod
    def from_file(cls, path: PathType, layers: Sequence[str]) -> Features:
        """With the weights of a torchvision state_dict; frozen.

        Raises: InputError if the file is none, or has no such layer.
        """
        weights = load_checkpoint(path).state_dict
        kind = next((kind for kind in CONVS if convolutions(weights) == convolutions_of(kind)), None)
        if kind is None:
            raise InputError(
                f"{path}: is no state_dict of torchvision's vgg16 or vgg19; give perceptual_weights=FILE of one"
            )
        try:
            network = cls(kind, layers)
        except ValueError as error:
            there = ", ".join(name for name in layer_names(kind) if name.startswith("relu"))
            raise InputError(f"perceptual_layers=[{','.join(layers)}]: {error}; there are {there}") from error
        try:
            network.load_state_dict({name: weights[name] for name in network.state_dict()}, strict=True)
        except (RuntimeError, KeyError) as error:
            raise InputError(f"{path}: its weights do not fit torchvision's {kind}; download the file again") from error
        return network.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """How far generated frames are from true ones.

        fake, real: (B, 3, T, H, W) BGR in [0, 1]. Gradients reach `fake` alone.
        """
        with torch.no_grad():
            truth = self.maps(real)
        pairs = zip(self.maps(fake), truth, strict=True)
        return torch.stack([F.l1_loss(ours.float(), theirs.float()) for ours, theirs in pairs]).mean()

    def maps(self, frames: Tensor) -> list[Tensor]:
        """The chosen maps of the lower halves of frames (B, 3, T, H, W), BGR in [0, 1], from the picture inwards."""
        rgb = fold_time(frames).flip(1)
        x = (rgb[:, :, rgb.shape[2] // 2 :] - self.mean) / self.spread
        chosen = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.places:
                chosen.append(x)
        return chosen


def layer_names(kind: str) -> list[str]:
    """What each layer is, numbered as in torchvision's files: conv1_1, relu1_1, conv1_2, ... pool5."""
    names = []
    for block, convs in enumerate(CONVS[kind], start=1):
        for number in range(1, convs + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return names


def layers_of(names: Sequence[str]) -> nn.Sequential:
    """The layers of these names, the first of which takes a picture."""
    layers: list[nn.Module] = []
    channels = 3
    for name in names:
        if name.startswith("conv"):
            out = CHANNELS[int(name[4]) - 1]
            layers.append(nn.Conv2d(channels, out, 3, padding=1))
            channels = out
        else:
            layers.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def convolutions(weights: Mapping[str, Tensor]) -> set[str]:
    """Keys of the convolutions' weights in a file."""
    return {key for key in weights if re.fullmatch(r"features\.\d+\.weight", key)}


def convolutions_of(kind: str) -> set[str]:
    """Keys of the convolutions' weights of a network."""
    return {f"features.{place}.weight" for place, name in enumerate(layer_names(kind)) if name.startswith("conv")}
