"""Canonical 3D keypoints of a face."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.sadtalker.blocks import DownBlock2d
from models.sadtalker.mapping import NUM_KEYPOINTS
from models.sadtalker.volumes import Conv3d, UpBlock3d, identity_grid

CHANNELS = (3, 64, 128, 256, 512, 1024)
UP_CHANNELS = (1024, 512, 256, 128, 64, 32)
DEPTH = 16
TEMPERATURE = 0.1
DOWNSCALE = 4
BLUR_KERNEL, BLUR_SIGMA = 13, 1.5  # pixels


def blur_kernel() -> Tensor:
    """Return a Gaussian for each colour, (3, 1, 13, 13) float32 of sum 1."""
    offsets = torch.arange(BLUR_KERNEL, dtype=torch.float32) - (BLUR_KERNEL - 1) / 2
    line = torch.exp(-(offsets**2) / (2 * BLUR_SIGMA**2))
    kernel = line[:, None] * line
    return (kernel / kernel.sum()).expand(3, 1, -1, -1).clone()


class BlurDownsample(nn.Module):
    """Gaussian blur, then every fourth pixel."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", blur_kernel())

    def forward(self, image: Tensor) -> Tensor:
        return F.conv2d(image, self.weight, stride=DOWNSCALE, padding=BLUR_KERNEL // 2, groups=3)


class Predictor(nn.Module):
    """Features of an image as a volume."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(CHANNELS))
        up_pairs = list(pairwise(UP_CHANNELS))
        self.down_blocks = nn.Sequential(OrderedDict((f"down{n}", DownBlock2d(*pair)) for n, pair in enumerate(pairs)))
        self.conv = nn.Conv2d(CHANNELS[-1], UP_CHANNELS[0] * DEPTH, 1)
        self.up_blocks = nn.Sequential(OrderedDict((f"up{n}", UpBlock3d(*pair)) for n, pair in enumerate(up_pairs)))

    def forward(self, image: Tensor) -> Tensor:
        """image: (B, 3, H, W), multiples of 32. Returns: (B, 32, 16, H, W)."""
        x = self.conv(self.down_blocks(image))
        return self.up_blocks(x.unflatten(1, (UP_CHANNELS[0], DEPTH)))


class KeypointDetector(nn.Module):
    """Keypoints as the expected positions of heatmaps over a volume."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor = Predictor()
        self.kp = Conv3d(UP_CHANNELS[-1], NUM_KEYPOINTS, 3)
        self.down = BlurDownsample()

    def forward(self, image: Tensor) -> Tensor:
        """Return keypoints, (B, 15, 3) float32: x, y and z in [-1, 1].

        image: (B, 3, S, S) float32 in [0, 1], RGB, with S 256 or 512.
        """
        heatmaps = self.kp(self.predictor(self.down(image)))
        weights = F.softmax(heatmaps.flatten(2) / TEMPERATURE, dim=2)
        depth, height, width = heatmaps.shape[2:]
        grid = identity_grid(depth, height, width, heatmaps.device)
        return weights @ grid.flatten(0, 2)
