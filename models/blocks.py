"""Convolution blocks shared by the networks.

Published checkpoints fix the attribute name `conv_block` and the order inside it: 0 is the convolution, 1 its
batch-norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

Size = int | tuple[int, int]
LEAKY_SLOPE = 0.01  # of the discriminator's ReLUs


@dataclass(frozen=True)
class Conv:
    """One row of a network's table: the parameters of a convolution."""

    channels: int  # output channels at width 1
    kernel: Size
    stride: Size = 1
    padding: Size = 0
    residual: bool = False  # add the input before the ReLU


class ConvBlock(nn.Module):
    """Convolution, batch-norm, optional residual, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, conv: Conv):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, conv.kernel, conv.stride, conv.padding), nn.BatchNorm2d(out_channels)
        )
        self.residual = conv.residual

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_block(x)
        return F.relu(out + x if self.residual else out)


class UpConvBlock(nn.Module):
    """Transposed convolution, batch-norm, ReLU; stride 2 doubles the map exactly."""

    def __init__(self, in_channels: int, out_channels: int, conv: Conv):
        super().__init__()
        output_padding = 1 if conv.stride == 2 else 0
        self.conv_block = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, conv.kernel, conv.stride, conv.padding, output_padding),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv_block(x))


class LeakyConvBlock(nn.Module):
    """Convolution and leaky ReLU without normalization, for the discriminator."""

    def __init__(self, in_channels: int, out_channels: int, conv: Conv):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, conv.kernel, conv.stride, conv.padding), nn.LeakyReLU(LEAKY_SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x)


def scale_channels(channels: int, width: float) -> int:
    """Scale a layer's published channels by a network's width.

    width: a multiple of 1/16, because the narrowest published layer has 16 channels.
    """
    if width <= 0 or width * 16 != int(width * 16):
        raise ValueError(f"width={width}: must be a positive multiple of 1/16")
    return int(channels * width)


def conv_stack(in_channels: int, table: list[Conv], width: float) -> nn.Sequential:
    """Build a sequence of ConvBlocks from a table, at a width."""
    blocks = []
    for conv in table:
        out_channels = scale_channels(conv.channels, width)
        blocks.append(ConvBlock(in_channels, out_channels, conv))
        in_channels = out_channels
    return nn.Sequential(*blocks)


def fold_time(x: Tensor) -> Tensor:
    """Fold time into the batch: (B, C, T, H, W) -> (T * B, C, H, W), where row t * B + b is sample b at time t."""
    return x.transpose(1, 2).transpose(0, 1).flatten(0, 1)


def unfold_time(x: Tensor, batch: int) -> Tensor:
    """Invert fold_time: (T * B, C, H, W) -> (B, C, T, H, W)."""
    return x.unflatten(0, (-1, batch)).permute(1, 2, 0, 3, 4)
