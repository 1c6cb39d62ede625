"""Perceptual loss: L1 distance in the features of a VGG (Simonyan and Zisserman 2015; Johnson et al. 2016).

The weights are a state_dict of torchvision's vgg16 or vgg19, for example vgg19-dcbb9e9d.pth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import fold_time
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError
from wav2lip.types import PathType

BLOCK_CHANNELS = (64, 128, 256, 512, 512)
BLOCK_CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # 3 x 3 convolutions per block
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in [0, 1]


class VGGFeatures(nn.Module):
    """Distance of the lower halves of frames: mean over layers of the mean absolute difference of their features."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, layers: Sequence[str]):
        """architecture: vgg16 or vgg19; layers: names such as relu3_2, the second ReLU of the third block.

        Raises: ValueError for a layer that the architecture does not have.
        """
        super().__init__()
        names = layer_names(architecture)
        unknown = [layer for layer in layers if not layer.startswith("relu") or layer not in names]
        if unknown or not layers:
            raise ValueError(f"must be ReLU layers of {architecture}, got {unknown[0] if unknown else 'none'}")
        self.output_indices = {names.index(layer) for layer in layers}
        self.features = build_layers(names[: max(self.output_indices) + 1])
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @classmethod
    def from_file(cls, path: PathType, layers: Sequence[str]) -> VGGFeatures:
        """Load a torchvision state_dict; the network is frozen.

        Raises: InputError if the file is not one, or the architecture has no such layer.
        """
        weights = load_checkpoint(path).state_dict
        convs = {key for key in weights if re.fullmatch(r"features\.\d+\.weight", key)}
        architecture = next((name for name in BLOCK_CONVS if convs == _conv_keys(name)), None)
        if architecture is None:
            raise InputError(f"vgg_weights={path}: must be a state_dict of torchvision's vgg16 or vgg19")
        try:
            network = cls(architecture, layers)
        except ValueError as error:
            relus = ", ".join(name for name in layer_names(architecture) if name.startswith("relu"))
            raise InputError(f"vgg_layers=[{','.join(layers)}]: {error}; choose from {relus}") from error
        _load_weights(network, weights, path, architecture)
        return network.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Distance () of generated and true frames (B, 3, T, H, W), BGR in [0, 1]; gradients reach `fake` alone."""
        with torch.no_grad():
            expected = self.extract(real)
        pairs = zip(self.extract(fake), expected, strict=True)
        return torch.stack([F.l1_loss(a.float(), b.float()) for a, b in pairs]).mean()

    def extract(self, frames: Tensor) -> list[Tensor]:
        """Features of the chosen layers for the lower halves of frames (B, 3, T, H, W), BGR in [0, 1]."""
        rgb = fold_time(frames).flip(1)
        x = (rgb[:, :, rgb.shape[2] // 2 :] - self.mean) / self.std
        outputs = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.output_indices:
                outputs.append(x)
        return outputs


def layer_names(architecture: str) -> list[str]:
    """Names of the layers in torchvision's order: conv1_1, relu1_1, conv1_2, ... pool5."""
    names = []
    for block, convs in enumerate(BLOCK_CONVS[architecture], start=1):
        for number in range(1, convs + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return names


def build_layers(names: Sequence[str]) -> nn.Sequential:
    """Build the layers with these names; the first takes an RGB image."""
    layers: list[nn.Module] = []
    channels = 3
    for name in names:
        if name.startswith("conv"):
            out_channels = BLOCK_CHANNELS[int(name[4]) - 1]
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
            channels = out_channels
        else:
            layers.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _conv_keys(architecture: str) -> set[str]:
    names = enumerate(layer_names(architecture))
    return {f"features.{index}.weight" for index, name in names if name.startswith("conv")}


def _load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: PathType, architecture: str) -> None:
    try:
        network.load_state_dict({name: weights[name] for name in network.state_dict()}, strict=True)
    except (RuntimeError, KeyError) as error:
        raise InputError(
            f"{path}: its weights do not fit torchvision's {architecture}; download the file again"
        ) from error
