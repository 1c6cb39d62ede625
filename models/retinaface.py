"""RetinaFace (Deng et al., CVPR 2020) on ResNet-50: faces and five landmarks, with the published keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.resnet import ResNet50

LEVELS = 3
ANCHORS_PER_CELL = 2
PYRAMID_CHANNELS = 256


def _conv_norm(in_channels: int, out_channels: int, kernel: int, relu: bool) -> nn.Sequential:
    layers = [nn.Conv2d(in_channels, out_channels, kernel, 1, kernel // 2, bias=False), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class FeaturePyramid(nn.Module):
    """Top-down sum of three feature maps."""

    def __init__(self) -> None:
        super().__init__()
        for level, in_channels in enumerate((512, 1024, 2048), 1):
            self.add_module(f"output{level}", _conv_norm(in_channels, PYRAMID_CHANNELS, 1, relu=True))
        self.merge1 = _conv_norm(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, relu=True)
        self.merge2 = _conv_norm(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, relu=True)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        low, middle, high = (self.get_submodule(f"output{level}")(x) for level, x in enumerate(maps, 1))
        middle = self.merge2(middle + F.interpolate(high, size=middle.shape[-2:]))
        low = self.merge1(low + F.interpolate(middle, size=low.shape[-2:]))
        return low, middle, high


class ContextModule(nn.Module):
    """Receptive fields of 3, 5 and 7 pixels side by side (the SSH module)."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = PYRAMID_CHANNELS // 2, PYRAMID_CHANNELS // 4
        self.conv3X3 = _conv_norm(PYRAMID_CHANNELS, half, 3, relu=False)
        self.conv5X5_1 = _conv_norm(PYRAMID_CHANNELS, quarter, 3, relu=True)
        self.conv5X5_2 = _conv_norm(quarter, quarter, 3, relu=False)
        self.conv7X7_2 = _conv_norm(quarter, quarter, 3, relu=True)
        self.conv7x7_3 = _conv_norm(quarter, quarter, 3, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        five = self.conv5X5_1(x)
        return F.relu(torch.cat([self.conv3X3(x), self.conv5X5_2(five), self.conv7x7_3(self.conv7X7_2(five))], dim=1))


class Head(nn.Module):
    """Values per anchor from a feature map."""

    def __init__(self, values: int):
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(PYRAMID_CHANNELS, ANCHORS_PER_CELL * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 256, H, W). Returns: (B, H * W * 2, values), row by row, both anchors of a cell in succession."""
        return self.conv1x1(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.values)


class RetinaFace(nn.Module):
    """Single-shot face detector with anchors at strides of 8, 16 and 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet50()
        self.fpn = FeaturePyramid()
        self.ssh1, self.ssh2, self.ssh3 = ContextModule(), ContextModule(), ContextModule()
        self.ClassHead = nn.ModuleList(Head(2) for _ in range(LEVELS))
        self.BboxHead = nn.ModuleList(Head(4) for _ in range(LEVELS))
        self.LandmarkHead = nn.ModuleList(Head(10) for _ in range(LEVELS))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return encoded boxes (B, N, 4), probabilities of background and face (B, N, 2), encoded landmarks (B, N, 10).

        image: (B, 3, H, W) float32, BGR in [0, 255] minus (104, 117, 123).
        """
        contexts = (self.ssh1, self.ssh2, self.ssh3)
        maps = [context(x) for context, x in zip(contexts, self.fpn(self.body(image)), strict=True)]
        boxes, classes, landmarks = (
            torch.cat([head(x) for head, x in zip(heads, maps, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return boxes, classes.softmax(dim=-1), landmarks
