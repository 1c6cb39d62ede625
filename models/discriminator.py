"""The visual-quality critic of GAN training: is this lower half of a face a photograph or generated?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.blocks import Conv, LeakyConvBlock, fold_time, scaled
from models.resolutions import PUBLISHED, Shape, factors_of, resizing, resolution_of

# Map sizes behind each row are those of the lower half of a 96 x 96 crop.
FACE_ENCODER = [
    [Conv(32, 7, 1, 3)],  # 48 x 96
    [Conv(64, 5, (1, 2), 2), Conv(64, 5, 1, 2)],  # 48 x 48
    [Conv(128, 5, 2, 2), Conv(128, 5, 1, 2)],  # 24 x 24
    [Conv(256, 5, 2, 2), Conv(256, 5, 1, 2)],  # 12 x 12
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1)],  # 6 x 6
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1)],  # 3 x 3
    [Conv(512, 3), Conv(512, 1)],  # 1 x 1
]
REDUCED = 32  # channels of what a larger picture adds for each factor: see models.resolutions


def face_encoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """The published table with a stage for each factor behind its first convolution."""
    first, *others = FACE_ENCODER
    return [first, *([resizing(REDUCED, factor), Conv(REDUCED, 5, 1, 2)] for factor in factors), *others]


class VisualQualityDiscriminator(nn.Module):
    """Scores each frame by itself; it never sees the sound."""

    def __init__(self, width: float = 1.0, resolution: int = PUBLISHED):
        """width: share of the published channels, a multiple of 1/16.
        resolution: pixels, width and height of the faces: 96, 192, 288 or 384.
        The published network is of width 1 and resolution 96.
        """
        super().__init__()
        self.resolution = resolution
        self.face_encoder_blocks = nn.ModuleList()
        channels = 3
        for table in face_encoder(factors_of(resolution)):
            stage = []
            for conv in table:
                out = scaled(conv.channels, width)
                stage.append(LeakyConvBlock(channels, out, conv))
                channels = out
            self.face_encoder_blocks.append(nn.Sequential(*stage))
        self.binary_pred = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, faces: Tensor) -> Tensor:
        """Judge the lower halves of frames.

        faces: (B, 3, T, R, R) float32 in [0, 1], BGR; T frames of B samples, R the resolution.
        Returns: (T * B, 1) probability that a lower half is real; row t * B + b is frame t of sample b.
        """
        x = fold_time(faces)
        x = x[:, :, x.shape[2] // 2 :]  # (T * B, 3, R / 2, R)
        for block in self.face_encoder_blocks:
            x = block(x)
        score, sigmoid = self.binary_pred
        logits = score(x).flatten(1)  # (T * B, 512, 1, 1) -> (T * B, 1)
        # In 16 bits a confident probability rounds to 1, where its cross-entropy has no slope.
        return sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> Shape:
        """Shape of the network whose weights these are.

        Raises: KeyError if they are not this discriminator's, ValueError if of a resolution that is not known.
        """
        key = "face_encoder_blocks.{}.0.conv_block.0.weight"
        width = state_dict[key.format(0)].shape[0] / FACE_ENCODER[0][0].channels
        stages = sum(key.format(n) in state_dict for n in range(len(state_dict)))
        added = range(1, 1 + stages - len(FACE_ENCODER))
        return Shape(width, resolution_of([state_dict[key.format(n)].shape[-1] for n in added]))
