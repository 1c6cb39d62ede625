"""Generator of SadTalker's face renderer: a source image moved to driving keypoints."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from models.sadtalker.blocks import ConvNorm2d, DownBlock2d
from models.sadtalker.decoder import MAP_CHANNELS, SpadeDecoder
from models.sadtalker.dense_motion import DEPTH, FEATURES, DenseMotion, Motion
from models.sadtalker.volumes import ResidualBlock3d, sample_volume

RESIDUAL_BLOCKS = 6


class Generator(nn.Module):
    """Source features, dense motion, warp, SPADE decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion()
        self.first = ConvNorm2d(3, 64)
        self.down_blocks = nn.ModuleList([DownBlock2d(64, 128), DownBlock2d(128, 256)])
        self.second = nn.Conv2d(256, FEATURES * DEPTH, 1)
        self.resblocks_3d = nn.Sequential(
            OrderedDict((f"3dr{n}", ResidualBlock3d(FEATURES)) for n in range(RESIDUAL_BLOCKS))
        )
        self.third = ConvNorm2d(FEATURES * DEPTH, MAP_CHANNELS, slope=0.01)
        self.fourth = nn.Conv2d(MAP_CHANNELS, MAP_CHANNELS, 1)
        self.decoder = SpadeDecoder()

    def forward(self, image: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        """Return the moved face, (B, 3, S, S) float32 in (0, 1), RGB.

        image: (B, 3, S, S) float32 in [0, 1], RGB, with S 256 or 512.
        source, driving: (B, 15, 3) float32 keypoints in [-1, 1].
        """
        features = self.source_features(image)
        return self.decode(features, self.dense_motion_network(features, source, driving))

    def source_features(self, image: Tensor) -> Tensor:
        """Return the features of an image, (B, 32, 16, S / 4, S / 4); they do not depend on the motion."""
        x = self.first(image)
        for block in self.down_blocks:
            x = block(x)
        return self.resblocks_3d(self.second(x).unflatten(1, (FEATURES, DEPTH)))

    def decode(self, features: Tensor, motion: Motion) -> Tensor:
        """Warp source features and decode them, (B, 3, S, S)."""
        warped = sample_volume(features, motion.deformation).flatten(1, 2)
        segmentation = self.fourth(self.third(warped)) * motion.occlusion
        return self.decoder(segmentation)
