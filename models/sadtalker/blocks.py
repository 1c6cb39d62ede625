"""Blocks over images shared by the keypoint detector and the generator."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm2d(nn.Module):
    """3 x 3 convolution, batch-norm, ReLU, or a leaky ReLU with a slope."""

    def __init__(self, in_channels: int, out_channels: int, slope: float = 0.0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)


class DownBlock2d(ConvNorm2d):
    """Convolution and halving of the size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)
