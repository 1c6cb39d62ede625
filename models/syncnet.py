"""SyncNet, the lip-sync expert: measures how well audio and mouth match."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Conv, conv_stack
from models.resolutions import PUBLISHED_RESOLUTION, Shape, infer_shape, resize_conv, resize_factors

WINDOW_FRAMES = 5  # 0.2 s at 25 fps

# Comments give the output size for 96 x 96 crops.
FACE_ENCODER = [
    Conv(32, 7, 1, 3),  # 48 x 96
    Conv(64, 5, (1, 2), 1),  # 46 x 47
    Conv(64, 3, 1, 1, residual=True),
    Conv(64, 3, 1, 1, residual=True),
    Conv(128, 3, 2, 1),  # 23 x 24
    Conv(128, 3, 1, 1, residual=True),
    Conv(128, 3, 1, 1, residual=True),
    Conv(128, 3, 1, 1, residual=True),
    Conv(256, 3, 2, 1),  # 12 x 12
    Conv(256, 3, 1, 1, residual=True),
    Conv(256, 3, 1, 1, residual=True),
    Conv(512, 3, 2, 1),  # 6 x 6
    Conv(512, 3, 1, 1, residual=True),
    Conv(512, 3, 1, 1, residual=True),
    Conv(512, 3, 2, 1),  # 3 x 3
    Conv(512, 3),  # 1 x 1
    Conv(512, 1),
]
AUDIO_ENCODER = [
    Conv(32, 3, 1, 1),  # 80 x 16
    Conv(32, 3, 1, 1, residual=True),
    Conv(32, 3, 1, 1, residual=True),
    Conv(64, 3, (3, 1), 1),  # 27 x 16
    Conv(64, 3, 1, 1, residual=True),
    Conv(64, 3, 1, 1, residual=True),
    Conv(128, 3, 3, 1),  # 9 x 6
    Conv(128, 3, 1, 1, residual=True),
    Conv(128, 3, 1, 1, residual=True),
    Conv(256, 3, (3, 2), 1),  # 3 x 3
    Conv(256, 3, 1, 1, residual=True),
    Conv(256, 3, 1, 1, residual=True),
    Conv(512, 3),  # 1 x 1
    Conv(512, 1),
]
DOWNSAMPLE_CHANNELS = 32  # channels of added stages, see models.resolutions


def face_encoder(factors: tuple[int, ...]) -> list[Conv]:
    """Return the published table with two rows for each downsampling factor after its first convolution."""
    first, *others = FACE_ENCODER
    added = [
        row
        for f in factors
        for row in (resize_conv(DOWNSAMPLE_CHANNELS, f), Conv(DOWNSAMPLE_CHANNELS, 3, 1, 1, residual=True))
    ]
    return [first, *added, *others]


class SyncNet(nn.Module):
    """Two encoders that map audio and mouth to unit vectors, close to each other if they match."""

    def __init__(self, width: float = 1.0, resolution: int = PUBLISHED_RESOLUTION):
        """width: factor on the published channels, a multiple of 1/16.
        resolution: width and height of the faces in pixels: 96, 192, 288 or 384.
        The published network has width 1 and resolution 96.
        """
        super().__init__()
        self.resolution = resolution
        self.face_encoder = conv_stack(3 * WINDOW_FRAMES, face_encoder(resize_factors(resolution)), width)
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embed audio and mouth so that their cosine similarity measures the match.

        mel: (B, 1, 80, 16) float32 in [-4, 4], the 0.2 s of audio of the frames.
        faces: (B, 15, R / 2, R) float32 in [0, 1], lower halves of 5 frames in time order, BGR each, R the resolution.
        Returns: audio and face embeddings, (B, 512 * width) each, of length 1 and non-negative, so that their
            cosine lies in [0, 1] up to rounding.
        """
        audio = self.audio_encoder(mel).flatten(1)  # (B, 512, 1, 1) -> (B, 512)
        face = self.face_encoder(faces).flatten(1)
        return F.normalize(audio, dim=1), F.normalize(face, dim=1)

    @staticmethod
    def infer_shape(state_dict: Mapping[str, Tensor]) -> Shape:
        """Infer the width and resolution of the network from its weights.

        Raises: KeyError for another network's weights, ValueError for an unknown resolution.
        """
        return infer_shape(
            state_dict, "face_encoder.{}.conv_block.0.weight", FACE_ENCODER[0], len(FACE_ENCODER), step=2
        )
