"""Volumes: grids, sampling and 3D convolutions, with exact 2D forms for devices that lack the operators."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@cache
def has_operator(name: str, device_type: str) -> bool:
    """Return True if a type of device has an operator: "conv3d" or "grid_sample". Each is tried once."""
    try:
        volume = torch.ones(1, 1, 1, 1, 1, device=device_type)
        if name == "conv3d":
            F.conv3d(volume, volume)
        else:
            F.grid_sample(volume, torch.zeros(1, 1, 1, 1, 3, device=device_type), align_corners=False)
    except (NotImplementedError, RuntimeError):
        return False
    return True


def identity_grid(depth: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the x, y and z of each cell, (D, H, W, 3) float32; the outermost cells are at -1 and 1."""
    z, y, x = (axis_positions(size, device) for size in (depth, height, width))
    shape = (depth, height, width)
    return torch.stack([x.expand(shape), y[:, None].expand(shape), z[:, None, None].expand(shape)], dim=-1)


def axis_positions(size: int, device: torch.device | None = None) -> Tensor:
    """Return the positions of cells along an axis, (size,) float32 from -1 to 1."""
    return 2 * (torch.arange(size, dtype=torch.float32, device=device) / (size - 1)) - 1


def sample_volume(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample trilinearly, with zeros outside: (B, C, D, H, W) at (B, D', H', W', 3) -> (B, C, D', H', W').

    The grid is interpreted with align_corners=False although `identity_grid` is built for True, as in training.
    """
    if has_operator("grid_sample", volume.device.type):
        return F.grid_sample(volume, grid, align_corners=False)
    return torch.stack([gather_volume(v, g).movedim(-1, 0) for v, g in zip(volume, grid, strict=True)])


def gather_volume(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample one volume by weighted gathers of the eight neighbors: (C, D, H, W) at (..., 3) -> (..., C)."""
    sizes = volume.shape[1:]
    cells = volume.flatten(1).t()
    lower, fraction = [], []
    for axis, size in enumerate(reversed(sizes)):  # x, y, z
        position = ((grid[..., axis] + 1) * size - 1) / 2
        lower.append(position.floor())
        fraction.append(position - lower[-1])
    result = cells.new_zeros(*grid.shape[:-1], len(volume))
    for corner in range(8):
        index, weight = torch.zeros_like(lower[0]), torch.ones_like(fraction[0])
        for axis, size in zip((2, 1, 0), sizes, strict=True):
            upper = corner >> axis & 1
            neighbor = lower[axis] + upper
            inside = (neighbor >= 0) & (neighbor < size)
            weight = weight * (fraction[axis] if upper else 1 - fraction[axis]) * inside
            index = index * size + neighbor.clamp(0, size - 1)
        result += cells[index.long()] * weight[..., None].to(cells.dtype)
    return result


def conv3d_as_2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    """Convolve volumes by one 2D convolution of stacked depth slices.

    x: (B, C, D, H, W). weight: (C', C, kernel). padding: in depth, height and width.
    Returns: (B, C', D', H', W'), as F.conv3d.
    """
    batch, taps = len(x), weight.shape[2]
    padded = F.pad(x, (0, 0, 0, 0, padding[0], padding[0])).transpose(1, 2)  # (B, D + 2 * padding, C, H, W)
    depth = padded.shape[1] - taps + 1
    slices = torch.cat([padded[:, k : k + depth] for k in range(taps)], dim=2).flatten(0, 1)
    out = F.conv2d(slices, weight.transpose(1, 2).flatten(1, 2), bias, padding=padding[1:])
    return out.unflatten(0, (batch, depth)).transpose(1, 2)


class Conv3d(nn.Conv3d):
    """Cubic convolution that keeps the size, in its 2D form on devices without Conv3d."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        if has_operator("conv3d", x.device.type):
            return super().forward(x)
        return conv3d_as_2d(x, self.weight, self.bias, (self.kernel_size[0] // 2,) * 3)


class ConvNorm3d(nn.Module):
    """3 x 3 x 3 convolution, batch-norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = Conv3d(in_channels, out_channels, 3)
        self.norm = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class DownBlock3d(ConvNorm3d):
    """Convolution and halving of height and width."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)  # pooled as 2D maps, because not every device has the 3D form
        return F.avg_pool2d(x.flatten(1, 2), 2).unflatten(1, x.shape[1:3])


class UpBlock3d(ConvNorm3d):
    """Doubling of height and width, and convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x.flatten(1, 2), scale_factor=2).unflatten(1, x.shape[1:3]))


class ResidualBlock3d(nn.Module):
    """Two pre-activated 3 x 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = Conv3d(channels, channels, 3), Conv3d(channels, channels, 3)
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
