"""Residual U-Net over a window of head poses, seen as an image of time by coefficients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = (32, 64, 128, 256)
TIME_STRIDE = (2, 1)


class ResidualConv(nn.Module):
    """Two pre-activated convolutions and a normalized shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int]):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 3, stride, 1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1),
        )
        self.conv_skip = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride, 1), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x) + self.conv_skip(x)


class Upsample(nn.Module):
    """Transposed convolution that doubles the time."""

    def __init__(self, channels: int):
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, TIME_STRIDE, TIME_STRIDE)

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(x)


class PoseUNet(nn.Module):
    """Three halvings of time and back."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, deepest = FILTERS
        self.input_layer = nn.Sequential(
            nn.Conv2d(1, first, 3, 1, 1), nn.BatchNorm2d(first), nn.ReLU(), nn.Conv2d(first, first, 3, 1, 1)
        )
        self.input_skip = nn.Sequential(nn.Conv2d(1, first, 3, 1, 1))
        self.residual_conv_1 = ResidualConv(first, second, TIME_STRIDE)
        self.residual_conv_2 = ResidualConv(second, third, TIME_STRIDE)
        self.bridge = ResidualConv(third, deepest, TIME_STRIDE)
        self.upsample_1 = Upsample(deepest)
        self.up_residual_conv1 = ResidualConv(deepest + third, third, (1, 1))
        self.upsample_2 = Upsample(third)
        self.up_residual_conv2 = ResidualConv(third + second, second, (1, 1))
        self.upsample_3 = Upsample(second)
        self.up_residual_conv3 = ResidualConv(second + first, first, (1, 1))
        self.output_layer = nn.Sequential(nn.Conv2d(first, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 1, T, V) float32, T a multiple of 8. Returns: the same shape, in (0, 1)."""
        first = self.input_layer(x) + self.input_skip(x)
        second = self.residual_conv_1(first)
        third = self.residual_conv_2(second)
        x = self.bridge(third)
        x = self.up_residual_conv1(torch.cat([self.upsample_1(x), third], dim=1))
        x = self.up_residual_conv2(torch.cat([self.upsample_2(x), second], dim=1))
        x = self.up_residual_conv3(torch.cat([self.upsample_3(x), first], dim=1))
        return F.sigmoid(self.output_layer(x))
