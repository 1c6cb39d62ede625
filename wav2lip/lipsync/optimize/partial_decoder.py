"""Decoder that computes only the rows on which the used part of a face depends.

`blending.FeatherBlend` uses the lower two thirds of a face. Convolutions reach a few rows up, so each decoder stage
receives the rows that these depend on: 3.24 instead of 2.66 times the plain frames per second (docs/speed.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models import Wav2Lip
from models.resolutions import resize_factors
from models.wav2lip import face_decoder

OUTPUT_REACH_ROWS = 1  # above a row that the output block depends on


def decode_lower_rows(network: Wav2Lip, mel: Tensor, faces: Tensor, first_row: int) -> Tensor:
    """Compute the output rows from `first_row` on; the same as `network(mel, faces)[:, :, first_row:]`.

    network: a generator, fused or not. mel, faces: (B, 1, 80, 16) and (B, 6, R, R), as of `Wav2Lip.forward`.
    Returns: (B, 3, R - first_row, R).
    """
    modules: Any = network
    skips = []
    for block in modules.face_encoder_blocks:
        faces = block(faces)
        skips.append(faces)
    begin, *starts = first_rows(network.resolution, first_row)
    x = modules.audio_encoder(mel)[:, :, begin:]
    stages = decoder_stages(network.resolution)
    for block, (factor, _), start in zip(modules.face_decoder_blocks, stages, starts, strict=True):
        x = block(x)
        offset = begin * factor  # row of the complete map with which x begins
        x = torch.cat([x[:, :, start - offset :], skips.pop()[:, :, start:]], dim=1)
        begin = start
    return modules.output_block(x)[:, :, first_row - begin :]


def first_rows(resolution: int, first_row: int) -> list[int]:
    """Return the first row needed of the input of each decoder stage and of the output block."""
    rows = [max(0, first_row - OUTPUT_REACH_ROWS)]
    for factor, residuals in reversed(decoder_stages(resolution)):
        # Row n of a stage's input reaches 2 * factor - 1 rows of its output, from n * factor - 1 on. So the row before
        # the first one reaches factor - 2 rows into the needed ones, and each residual convolution one row further.
        reach = factor - 2 + residuals
        rows.append(max(0, (rows[-1] - reach) // factor) if factor > 1 else 0)
    return rows[::-1]


def decoder_stages(resolution: int) -> list[tuple[int, int]]:
    """Return the upsampling factor and the number of residual convolutions of each decoder stage."""
    tables: list[list[Any]] = face_decoder(resize_factors(resolution))
    return [(upsampling.stride, len(residuals)) for upsampling, *residuals in tables]
