"""SPADE decoder (Park et al., CVPR 2019): an image from a map of warped features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

MAP_CHANNELS = 256
HIDDEN_CHANNELS = 128
MIDDLE_CHANNELS = 512
MIDDLE_BLOCKS = 6
SLOPE = 0.2


class SpadeNorm(nn.Module):
    """Instance-norm with a scale and an offset for each pixel, computed from a map."""

    def __init__(self, channels: int):
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(MAP_CHANNELS, HIDDEN_CHANNELS, 3, padding=1))
        self.mlp_gamma = nn.Conv2d(HIDDEN_CHANNELS, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN_CHANNELS, channels, 3, padding=1)

    def forward(self, x: Tensor, segmentation: Tensor) -> Tensor:
        """x: (B, C, H, W). segmentation: (B, 256, h, w), enlarged to the size of x."""
        hidden = F.relu(self.mlp_shared(F.interpolate(segmentation, size=x.shape[-2:])))
        return F.instance_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SpadeBlock(nn.Module):
    """Two normalized convolutions and a shortcut, which is learned if the channels change."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        middle = min(in_channels, out_channels)
        self.learned_shortcut = in_channels != out_channels
        self.conv_0 = spectral_norm(nn.Conv2d(in_channels, middle, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(middle, out_channels, 3, padding=1))
        if self.learned_shortcut:
            self.conv_s = spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))
        self.norm_0, self.norm_1 = SpadeNorm(in_channels), SpadeNorm(middle)
        if self.learned_shortcut:
            self.norm_s = SpadeNorm(in_channels)

    def forward(self, x: Tensor, segmentation: Tensor) -> Tensor:
        shortcut = self.conv_s(self.norm_s(x, segmentation)) if self.learned_shortcut else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, segmentation), SLOPE))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(x, segmentation), SLOPE))


class SpadeDecoder(nn.Module):
    """Six blocks at the size of the map and two that double it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(MAP_CHANNELS, MIDDLE_CHANNELS, 3, padding=1)
        for n in range(MIDDLE_BLOCKS):
            self.add_module(f"G_middle_{n}", SpadeBlock(MIDDLE_CHANNELS, MIDDLE_CHANNELS))
        self.up_0 = SpadeBlock(MIDDLE_CHANNELS, 256)
        self.up_1 = SpadeBlock(256, 64)
        self.conv_img = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, segmentation: Tensor) -> Tensor:
        """segmentation: (B, 256, H, W). Returns: (B, 3, 4 * H, 4 * W) in (0, 1), RGB."""
        x = self.fc(segmentation)
        for n in range(MIDDLE_BLOCKS):
            x = self.get_submodule(f"G_middle_{n}")(x, segmentation)
        for block in (self.up_0, self.up_1):
            x = block(F.interpolate(x, scale_factor=2), segmentation)
        return F.sigmoid(self.conv_img(F.leaky_relu(x, SLOPE)))
