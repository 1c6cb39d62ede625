"""Coefficients of a 3D morphable face model from an image (Deng et al., CVPRW 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.resnet import ResNet50

# Output channels of the heads: identity, expression, texture, angles, lighting, translation in the plane, depth.
HEADS = (80, 64, 80, 3, 27, 2, 1)
EXPRESSION = slice(80, 144)
ANGLES = slice(224, 227)  # radians about x, y, z
TRANSLATION = slice(254, 257)


class Face3DRecon(nn.Module):
    """ResNet-50 with a linear head for each group of coefficients."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, channels, 1) for channels in HEADS)

    def forward(self, face: Tensor) -> Tensor:
        """Return all coefficients, (B, 257) float32.

        face: (B, 3, 224, 224) float32 in [0, 1], RGB, aligned.
        """
        pooled = self.pool(face)
        return torch.cat([head(pooled) for head in self.final_layers], dim=1).flatten(1)

    def pool(self, face: Tensor) -> Tensor:
        """Return the mean feature of a face, (B, 2048, 1, 1)."""
        return self.backbone(face)[-1].mean(dim=(2, 3), keepdim=True)
