"""ResNet-50 with torchvision's keys, stride on the 3 x 3 convolution, and without its classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STAGE_CHANNELS = (64, 128, 256, 512)
STAGE_BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with batch-norm and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        out_channels = channels * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
            if stride != 1 or in_channels != out_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """Feature maps of the last three stages."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        in_channels = 64
        for stage, (channels, blocks) in enumerate(zip(STAGE_CHANNELS, STAGE_BLOCKS, strict=True), 1):
            strides = [1 if stage == 1 else 2] + [1] * (blocks - 1)
            layers = []
            for stride in strides:
                layers.append(Bottleneck(in_channels, channels, stride))
                in_channels = channels * EXPANSION
            self.add_module(f"layer{stage}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, 3, H, W). Returns: (B, 512, H/8, W/8), (B, 1024, H/16, W/16) and (B, 2048, H/32, W/32), rounded up."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for stage in range(1, len(STAGE_CHANNELS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        _, low, middle, high = maps
        return low, middle, high
