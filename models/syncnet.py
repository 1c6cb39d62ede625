"""The lip-sync expert: does this sound belong to this mouth?"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Conv, conv_stack

FRAMES = 5  # frames in a window: 0.2 s at 25 frames a second

# Map sizes behind each row are those of the published 96 x 96 crops.
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


class SyncNet(nn.Module):
    """Two towers that map a sound and a mouth to unit vectors, near each other when they belong together."""

    def __init__(self, width: float = 1.0):
        """width: share of the published channels, a multiple of 1/16; 1 is the published network."""
        super().__init__()
        self.face_encoder = conv_stack(3 * FRAMES, FACE_ENCODER, width)
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a sound and a mouth so that their cosine says whether they belong together.

        mel: (B, 1, 80, 16) float32 in [-4, 4], the 0.2 s of sound under the frames.
        faces: (B, 15, 48, 96) float32 in [0, 1], lower halves of 5 frames in time order, BGR each.
        Returns: audio and face embeddings, (B, 512 * width) each, of length 1 and non-negative, so that their
            cosine lies in [0, 1] up to rounding.
        """
        audio = self.audio_encoder(mel).flatten(1)  # (B, 512, 1, 1) -> (B, 512)
        face = self.face_encoder(faces).flatten(1)
        return F.normalize(audio, dim=1), F.normalize(face, dim=1)

    @staticmethod
    def width_of(state_dict: Mapping[str, Tensor]) -> float:
        """Width of the network whose weights these are; KeyError if they are not a SyncNet's."""
        return state_dict["face_encoder.0.conv_block.0.weight"].shape[0] / FACE_ENCODER[0].channels
