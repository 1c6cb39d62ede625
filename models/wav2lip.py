"""The generator: repaints the lower half of a face so that its lips say the given sound."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.blocks import Conv, ConvBlock, UpConvBlock, conv_stack, fold_time, scaled, unfold_time
from models.resolutions import PUBLISHED, Shape, factors_of, resizing, resolution_of

# Map sizes behind each row are those of the published 96 x 96 crops.
FACE_ENCODER = [
    [Conv(16, 7, 1, 3)],  # 96 x 96
    [Conv(32, 3, 2, 1), Conv(32, 3, 1, 1, residual=True), Conv(32, 3, 1, 1, residual=True)],  # 48 x 48
    [Conv(64, 3, 2, 1), *[Conv(64, 3, 1, 1, residual=True)] * 3],  # 24 x 24
    [Conv(128, 3, 2, 1), *[Conv(128, 3, 1, 1, residual=True)] * 2],  # 12 x 12
    [Conv(256, 3, 2, 1), *[Conv(256, 3, 1, 1, residual=True)] * 2],  # 6 x 6
    [Conv(512, 3, 2, 1), Conv(512, 3, 1, 1, residual=True)],  # 3 x 3
    [Conv(512, 3), Conv(512, 1)],  # 1 x 1
]
# One residual block of 256 channels fewer than the expert's, so the two are not interchangeable.
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
    Conv(512, 3),  # 1 x 1
    Conv(512, 1),
]
# Each stage ends in a concatenation with the encoder map of its size; the first row of all but stage 0 is transposed.
FACE_DECODER = [
    [Conv(512, 1)],  # 1 x 1
    [Conv(512, 3), Conv(512, 3, 1, 1, residual=True)],  # 3 x 3
    [Conv(512, 3, 2, 1), *[Conv(512, 3, 1, 1, residual=True)] * 2],  # 6 x 6
    [Conv(384, 3, 2, 1), *[Conv(384, 3, 1, 1, residual=True)] * 2],  # 12 x 12
    [Conv(256, 3, 2, 1), *[Conv(256, 3, 1, 1, residual=True)] * 2],  # 24 x 24
    [Conv(128, 3, 2, 1), *[Conv(128, 3, 1, 1, residual=True)] * 2],  # 48 x 48
    [Conv(64, 3, 2, 1), *[Conv(64, 3, 1, 1, residual=True)] * 2],  # 96 x 96
]
OUTPUT = Conv(32, 3, 1, 1)
# What a larger picture adds for each factor: see models.resolutions.
REDUCED, ENLARGED = 16, 32  # channels


def face_encoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """The published table with a stage for each factor behind its first convolution."""
    first, *others = FACE_ENCODER
    added = ([resizing(REDUCED, factor), *[Conv(REDUCED, 3, 1, 1, residual=True)] * 2] for factor in factors)
    return [first, *added, *others]


def face_decoder(factors: tuple[int, ...]) -> list[list[Conv]]:
    """The published table with a stage for each factor at its end, in the encoder's order backwards."""
    added = ([resizing(ENLARGED, f), *[Conv(ENLARGED, 3, 1, 1, residual=True)] * 2] for f in reversed(factors))
    return [*FACE_DECODER, *added]


class Wav2Lip(nn.Module):
    """A U-Net over the face whose bottleneck is the sound."""

    def __init__(self, width: float = 1.0, resolution: int = PUBLISHED):
        """width: share of the published channels, a multiple of 1/16.
        resolution: pixels, width and height of the faces: 96, 192, 288 or 384.
        The published network is of width 1 and resolution 96.
        """
        super().__init__()
        self.resolution, factors = resolution, factors_of(resolution)
        self.face_encoder_blocks = nn.ModuleList()
        channels, skips = 6, []
        for table in face_encoder(factors):
            self.face_encoder_blocks.append(conv_stack(channels, table, width))
            channels = scaled(table[-1].channels, width)
            skips.append(channels)
        self.audio_encoder = conv_stack(1, AUDIO_ENCODER, width)
        self.face_decoder_blocks = nn.ModuleList()
        channels = scaled(AUDIO_ENCODER[-1].channels, width)
        for stage, table in enumerate(face_decoder(factors)):
            first = ConvBlock if stage == 0 else UpConvBlock
            out = scaled(table[0].channels, width)
            self.face_decoder_blocks.append(
                nn.Sequential(first(channels, out, table[0]), *conv_stack(out, table[1:], width))
            )
            channels = out + skips[-1 - stage]
        out = scaled(OUTPUT.channels, width)
        self.output_block = nn.Sequential(ConvBlock(channels, out, OUTPUT), nn.Conv2d(out, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Repaint faces to say the sound.

        B samples, T frames each, of R x R pixels; the four-dimensional form is one frame a sample. Frames meet each
        other only in the batch statistics of training mode.
        mel: (B, 1, 80, 16) or (B, T, 1, 80, 16) float32 in [-4, 4], the sound around each frame.
        faces: (B, 6, R, R) or (B, 6, T, R, R) float32 in [0, 1], BGR twice: the frame to repaint with its lower
            half set to 0, then a whole frame of the same person as reference.
        Returns: (B, 3, R, R) or (B, 3, T, R, R) float32 in (0, 1), BGR.
        """
        if faces.dim() == 4:
            return self._repaint(mel, faces)
        frames = self._repaint(mel.transpose(0, 1).flatten(0, 1), fold_time(faces))
        return unfold_time(frames, batch=len(faces))

    def _repaint(self, mel: Tensor, faces: Tensor) -> Tensor:
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)
        x = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.output_block(x)

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> Shape:
        """Shape of the network whose weights these are.

        Raises: KeyError if they are not a Wav2Lip generator's, ValueError if of a resolution that is not known.
        """
        key = "face_encoder_blocks.{}.0.conv_block.0.weight"
        width = state_dict[key.format(0)].shape[0] / FACE_ENCODER[0][0].channels
        stages = sum(key.format(n) in state_dict for n in range(len(state_dict)))
        added = range(1, 1 + stages - len(FACE_ENCODER))
        return Shape(width, resolution_of([state_dict[key.format(n)].shape[-1] for n in added]))
