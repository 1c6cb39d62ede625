"""The generator without the rows that nobody looks at.

A face goes back into its frame by its lower part alone (`blending.Feather`). The decoder's convolutions reach a few
rows up, so each of its stages is given the rows that the picture's lower part is made of, and leaves out those above:
a sixth of the generator's work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models import Wav2Lip
from models.resolutions import factors_of
from models.wav2lip import face_decoder

OUTPUT_REACH = 1  # rows up that the output block looks from a row of its own


def lower_rows(network: Wav2Lip, mel: Tensor, faces: Tensor, top: int) -> Tensor:
    """What `network` makes of single frames, from a row on.

    network: a generator, folded or not. mel, faces: (B, 1, 80, 16) and (B, 6, R, R), as of `Wav2Lip.forward`.
    Returns: rows `top` and below of its answer, (B, 3, R - top, R).
    """
    parts: Any = network
    maps = []
    for block in parts.face_encoder_blocks:
        faces = block(faces)
        maps.append(faces)
    first, *others = first_rows(network.resolution, top)
    x = parts.audio_encoder(mel)[:, :, first:]
    stages = decoder_stages(network.resolution)
    for block, (factor, _), start in zip(parts.face_decoder_blocks, stages, others, strict=True):
        x = block(x)
        begin = first * factor  # row of the whole map that x begins with
        x = torch.cat([x[:, :, start - begin :], maps.pop()[:, :, start:]], dim=1)
        first = start
    return parts.output_block(x)[:, :, top - first :]


def first_rows(resolution: int, top: int) -> list[int]:
    """The first row needed of each decoder stage's input, and of the output block's, for a picture from `top`."""
    rows = [max(0, top - OUTPUT_REACH)]
    for factor, residuals in reversed(decoder_stages(resolution)):
        # Row n of a stage's input reaches 2 * factor - 1 rows of its output, from n * factor - 1 on; so the row before
        # the first one reaches factor - 2 rows into what is kept, and each residual convolution one row further.
        reach = factor - 2 + residuals
        rows.append(max(0, (rows[-1] - reach) // factor) if factor > 1 else 0)
    return rows[::-1]


def decoder_stages(resolution: int) -> list[tuple[int, int]]:
    """How much each of the decoder's stages enlarges its map, and how many residual convolutions follow in it."""
    tables: list[list[Any]] = face_decoder(factors_of(resolution))
    return [(enlarging.stride, len(residuals)) for enlarging, *residuals in tables]
