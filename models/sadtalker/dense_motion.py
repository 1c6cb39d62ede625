"""Dense motion: where each cell of the driving volume comes from in the source volume."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.sadtalker.mapping import NUM_KEYPOINTS
from models.sadtalker.volumes import Conv3d, ConvNorm3d, DownBlock3d, UpBlock3d, identity_grid, sample_volume

FEATURES, DEPTH = 32, 16
COMPRESSED = 4  # channels of the features that are warped by every flow
NUM_FLOWS = NUM_KEYPOINTS + 1  # the first is the background
HOURGLASS_INPUT = NUM_FLOWS * (COMPRESSED + 1)
ENCODER_CHANNELS = (HOURGLASS_INPUT, 64, 128, 256, 512, 1024)
HEATMAP_VARIANCE = 0.01
MASK_THRESHOLD = 1e-3


class Encoder(nn.Module):
    """Down blocks whose outputs are all kept."""

    def __init__(self) -> None:
        super().__init__()
        pairs = pairwise(ENCODER_CHANNELS)
        self.down_blocks = nn.ModuleList(DownBlock3d(*pair) for pair in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(nn.Module):
    """Up blocks on the concatenation of the last output and the encoder's map of its size."""

    def __init__(self) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList()
        in_channels = ENCODER_CHANNELS[-1]
        for skip in reversed(ENCODER_CHANNELS[:-1]):
            out_channels = 32 if skip == HOURGLASS_INPUT else skip
            self.up_blocks.append(UpBlock3d(in_channels, out_channels))
            in_channels = out_channels + skip
        last = ConvNorm3d(in_channels, in_channels)
        self.conv, self.norm = last.conv, last.norm

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for block, skip in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass3d(nn.Module):
    """U-Net over volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 80, 16, H, W), H and W multiples of 32. Returns: (B, 112, 16, H, W)."""
        return self.decoder(self.encoder(x))


class Motion(NamedTuple):
    """Output of the dense motion network for B frames."""

    deformation: Tensor  # (B, 16, H, W, 3): position in the source of each cell, x, y, z in [-1, 1]
    occlusion: Tensor  # (B, 1, H, W) in (0, 1): 0 where the source shows nothing
    masks: Tensor  # (B, 16, 16, H, W): weight of each flow


def gaussian_heatmaps(grid: Tensor, keypoints: Tensor) -> Tensor:
    """Return a Gaussian around each keypoint: (D, H, W, 3) and (B, K, 3) -> (B, K, D, H, W)."""
    distance = (grid - keypoints[:, :, None, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * distance / HEATMAP_VARIANCE)


class DenseMotion(nn.Module):
    """Mask over the flows of the background and of each keypoint."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass3d()
        channels = HOURGLASS_INPUT + 32
        self.mask = Conv3d(channels, NUM_FLOWS, 7)
        self.compress = Conv3d(FEATURES, COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(COMPRESSED)
        self.occlusion = nn.Conv2d(channels * DEPTH, 1, 7, padding=3)

    def forward(self, features: Tensor, source: Tensor, driving: Tensor) -> Motion:
        """features: (B, 32, 16, H, W) of the source. source, driving: (B, 15, 3) keypoints."""
        depth, height, width = features.shape[2:]
        grid = identity_grid(depth, height, width, features.device)
        flows = self.flows(grid, source, driving)
        compressed = F.relu(self.norm(self.compress(features)))
        x = self.hourglass(self.hourglass_input(grid, compressed, flows, source, driving))
        masks = F.softmax(self.mask(x), dim=1)
        masks = torch.where(masks < MASK_THRESHOLD, 0, masks)
        deformation = (masks[..., None] * flows).sum(dim=1)
        occlusion = F.sigmoid(self.occlusion(x.flatten(1, 2)))
        return Motion(deformation, occlusion, masks)

    @staticmethod
    def flows(grid: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        """Return the flow of the background and of each keypoint, (B, 16, D, H, W, 3)."""
        shifts = F.pad(source - driving, (0, 0, 1, 0))
        return grid + shifts[:, :, None, None, None]

    @staticmethod
    def hourglass_input(grid: Tensor, compressed: Tensor, flows: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        """Return for each flow the change of its heatmap and the features it warps, (B, 80, D, H, W)."""
        batch, count = flows.shape[:2]
        repeated = compressed.repeat_interleave(count, dim=0)
        warped = sample_volume(repeated, flows.flatten(0, 1)).unflatten(0, (batch, count))
        heatmaps = gaussian_heatmaps(grid, driving) - gaussian_heatmaps(grid, source)
        heatmaps = F.pad(heatmaps, (0, 0, 0, 0, 0, 0, 1, 0))
        return torch.cat([heatmaps[:, :, None], warped], dim=2).flatten(1, 2)
