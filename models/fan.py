"""FAN (Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", 2017).

Stacked hourglasses that map a face to one heat map per landmark. The 98-point network of the WFLW landmarks (Wang et
al., "Adaptive wing loss", 2019) adds coordinate channels. Attribute names are the format of the published files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = 256  # pixels
POINTS_98 = 98
FEATURES = 256
HOURGLASS_DEPTH = 4
COORDINATES, MASKED_COORDINATES = 3, 2  # channels: rows, columns, radius; rows and columns near a boundary
MIN_BOUNDARY = 0.05  # value of the boundary map above which coordinates are kept


class ConvBlock(nn.Module):
    """Three 3x3 convolutions, each on the output of the one before; their outputs are concatenated."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        half, quarter = out_channels // 2, out_channels // 4
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + (x if self.downsample is None else self.downsample(x))


class CoordConv(nn.Module):
    """Convolution of a map, its coordinates, and the coordinates on the boundaries of a face."""

    def __init__(self, in_channels: int, coordinates: int, out_channels: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels + coordinates, out_channels, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor, boundary: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W). boundary: (B, 1, H, W) in [0, 1]; None without the coordinates on boundaries."""
        rows, columns = (torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[-2:])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        radius = grid.norm(dim=0, keepdim=True)
        channels = torch.cat([grid, radius / radius.max()]).expand(len(x), -1, -1, -1)
        if boundary is not None:
            masked = torch.where(boundary > MIN_BOUNDARY, grid, torch.zeros_like(grid))
            channels = torch.cat([channels, masked], dim=1)
        return self.conv(torch.cat([x, channels], dim=1))


class Hourglass(nn.Module):
    """Blocks at five resolutions; each upsampled map is added to the one at its resolution."""

    def __init__(self, coordinates: int = 0):
        """coordinates: coordinate channels that are merged into the input first; 0 for none."""
        super().__init__()
        self.coordconv = CoordConv(FEATURES, coordinates, FEATURES) if coordinates else None
        levels = range(1, HOURGLASS_DEPTH + 1)
        down = [f"{branch}_{level}" for level in reversed(levels) for branch in ("b1", "b2")]
        for name in (*down, "b2_plus_1", *(f"b3_{level}" for level in levels)):
            self.add_module(name, ConvBlock(FEATURES, FEATURES))

    def forward(self, x: Tensor, boundary: Tensor | None = None) -> Tensor:
        """x: (B, 256, 64, 64). boundary: (B, 1, 64, 64), see `CoordConv`."""
        return self._at_level(HOURGLASS_DEPTH, x if self.coordconv is None else self.coordconv(x, boundary))

    def _at_level(self, level: int, x: Tensor) -> Tensor:
        low = self.get_submodule(f"b2_{level}")(F.avg_pool2d(x, 2))
        low = self._at_level(level - 1, low) if level > 1 else self.get_submodule("b2_plus_1")(low)
        low = self.get_submodule(f"b3_{level}")(low)
        return self.get_submodule(f"b1_{level}")(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class FAN(nn.Module):
    """Heat maps of landmarks from a face crop.

    num_maps: 68 of the 300-W scheme.
    has_coordinates: with the coordinate channels of `FAN98`, whose last map is the boundaries of the face.
    """

    def __init__(self, num_maps: int = 68, num_stacks: int = 4, has_coordinates: bool = False):
        super().__init__()
        self.num_stacks, self.has_coordinates = num_stacks, has_coordinates
        self.conv1 = CoordConv(3, COORDINATES, 64, 7, 2) if has_coordinates else nn.Conv2d(3, 64, 7, 2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = ConvBlock(64, 128)
        self.conv3 = ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, FEATURES)
        for n in range(num_stacks):
            coordinates = COORDINATES + MASKED_COORDINATES * (n > 0) if has_coordinates else 0
            self.add_module(f"m{n}", Hourglass(coordinates))
            self.add_module(f"top_m_{n}", ConvBlock(FEATURES, FEATURES))
            self.add_module(f"conv_last{n}", nn.Conv2d(FEATURES, FEATURES, 1))
            self.add_module(f"bn_end{n}", nn.BatchNorm2d(FEATURES))
            self.add_module(f"l{n}", nn.Conv2d(FEATURES, num_maps, 1))
            if n < num_stacks - 1:
                self.add_module(f"bl{n}", nn.Conv2d(FEATURES, FEATURES, 1))
                self.add_module(f"al{n}", nn.Conv2d(num_maps, FEATURES, 1))

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        """Return the heat maps (B, num_maps, 64, 64) of each hourglass; the last is the result.

        faces: (B, 3, 256, 256) in [0, 1]: RGB for 68 points, BGR for 98.
        """
        x = F.avg_pool2d(self.conv2(F.relu(self.bn1(self.conv1(faces)))), 2)
        x = self.conv4(self.conv3(x))
        stacks: list[Tensor] = []
        for n in range(self.num_stacks):
            hourglass, top = self.get_submodule(f"m{n}"), self.get_submodule(f"top_m_{n}")
            boundary = (stacks[-1][:, -1:].clamp(0, 1) if stacks else None) if self.has_coordinates else None
            features = top(hourglass(x, boundary))
            features = F.relu(self.get_submodule(f"bn_end{n}")(self.get_submodule(f"conv_last{n}")(features)))
            stacks.append(self.get_submodule(f"l{n}")(features))
            if n < self.num_stacks - 1:
                x = x + self.get_submodule(f"bl{n}")(features) + self.get_submodule(f"al{n}")(stacks[-1])
        return tuple(stacks)


class FAN98(FAN):
    """FAN of the 98 WFLW landmarks, with a 99th map for the boundaries of the face."""

    def __init__(self) -> None:
        super().__init__(POINTS_98 + 1, has_coordinates=True)
