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
from models.blocks import Conv
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
    for block, table, start in zip(parts.face_decoder_blocks, decoder_tables(network.resolution), others, strict=True):
        x = block(x)
        begin = first * table[0].stride  # row of the whole map that x begins with
        x = torch.cat([x[:, :, start - begin :], maps.pop()[:, :, start:]], dim=1)
        first = start
    return parts.output_block(x)[:, :, top - first :]


def first_rows(resolution: int, top: int) -> list[int]:
    """The first row needed of each decoder stage's input, and of the output block's, for a picture from `top`."""
    rows = [max(0, top - OUTPUT_REACH)]
    for table in reversed(decoder_tables(resolution)):
        rows.append(_first_row(table, rows[-1]))
    return rows[::-1]


def decoder_tables(resolution: int) -> list[list[Conv]]:
    """The decoder's stages."""
    return face_decoder(factors_of(resolution))


def _first_row(table: list[Conv], wanted: int) -> int:
    """First row of a stage's input that a row of its output is made of, and with it all below."""
    enlarging, *others = table
    if enlarging.stride == 1:
        return 0
    # Row n of the input reaches the output's rows from n * stride - 1 on, 2 * stride - 1 of them, so the row before
    # the first reaches so far into what would be kept; each residual convolution carries that a row further.
    reach = enlarging.stride - 2 + len(others)
    return max(0, (wanted - reach) // enlarging.stride)
