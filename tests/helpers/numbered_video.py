"""Videos whose frames encode their number, which survives encoding and resizing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from wav2lip.media import VideoWriter

BARS = 8  # black and white bars that encode a frame's number, lowest bit left


def encode_number(number: int, size: int = 64) -> np.ndarray:
    """Return a frame that encodes its number."""
    bits = [255 * (number >> bit & 1) for bit in range(BARS)]
    return np.repeat(np.repeat(np.array(bits, np.uint8), size // BARS)[None, :, None], size, 0).repeat(3, 2)


def decode_number(frame: np.ndarray) -> int:
    """Return the number of a frame."""
    is_white = frame[-4, frame.shape[1] // BARS // 2 :: frame.shape[1] // BARS].mean(-1) > 127
    return int(sum(1 << bit for bit, on in enumerate(is_white) if on))


def write_numbered_video(path: Path, frames: int, fps: Fraction | float = 25) -> Path:
    """Write a video of numbered frames."""
    with VideoWriter(path, fps) as writer:
        for number in range(frames):
            writer.write(encode_number(number))
    return path
