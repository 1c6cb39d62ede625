"""The lip-sync expert: does this sound belong to this mouth?"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Conv, conv_stack
from models.resolutions import PUBLISHED, Shape, factors_of, resizing, resolution_of

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
REDUCED = 32  # channels of what a larger picture adds for each factor: see models.resolutions


def face_encoder(factors: tuple[int, ...]) -> list[Conv]:
    """The published table with two rows for each factor behind its first convolution."""
    first, *others = FACE_ENCODER
    added = [row for f in factors for row in (resizing(REDUCED, f), Conv(REDUCED, 3, 1, 1, residual=True))]
    return [first, *added, *others]


class SyncNet(nn.Module):
    """Two towers that map a sound and a mouth to unit vectors, near each other when they belong together."""

    def __init__(self, width: float = 1.0, resolution: int = PUBLISHED):
        """width: share of the published channels, a multiple of 1/16.
        resolution: pixels, width and height of the faces: 96, 192, 288 or 384.
        The published network is of width 1 and resolution 96.
        """
        super().__init__()
        self.resolution = resolution
        self.face_encoder = conv_stack(3 * FRAMES, face_encoder(factors_of(resolution)), width)
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embed a sound and a mouth so that their cosine says whether they belong together.

        mel: (B, 1, 80, 16) float32 in [-4, 4], the 0.2 s of sound under the frames.
        faces: (B, 15, R / 2, R) float32 in [0, 1], lower halves of 5 frames in time order, BGR each, R the resolution.
        Returns: audio and face embeddings, (B, 512 * width) each, of length 1 and non-negative, so that their
            cosine lies in [0, 1] up to rounding.
        """
        audio = self.audio_encoder(mel).flatten(1)  # (B, 512, 1, 1) -> (B, 512)
        face = self.face_encoder(faces).flatten(1)
        return F.normalize(audio, dim=1), F.normalize(face, dim=1)

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> Shape:
        """Shape of the network whose weights these are.

        Raises: KeyError if they are not a SyncNet's, ValueError if of a resolution that is not known.
        """
        key = "face_encoder.{}.conv_block.0.weight"
        width = state_dict[key.format(0)].shape[0] / FACE_ENCODER[0].channels
        rows = sum(key.format(n) in state_dict for n in range(len(state_dict)))
        added = range(1, 1 + rows - len(FACE_ENCODER), 2)
        return Shape(width, resolution_of([state_dict[key.format(n)].shape[-1] for n in added]))
