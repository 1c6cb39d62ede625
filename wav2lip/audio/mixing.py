"""Mix of the audio of several people."""

from __future__ import annotations

import itertools
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wav2lip.media import read_audio
from wav2lip.media.audio import PLAIN_RATE
from wav2lip.media.container import OnPacket, ignore_packet
from wav2lip.types import PathType

BLOCK_SAMPLES = 1 << 16


def mix_audio(files: Sequence[PathType], target: Path, on_packet: OnPacket = ignore_packet) -> Path:
    """Write the sum of files, which begin together, as 16-bit mono WAV at `PLAIN_RATE`; as long as the longest.

    The sum is scaled down if it exceeds the range of 16 bits, so each file is read twice.
    on_packet: see `read_audio`. Returns: the target.
    """
    peak = max((float(np.abs(block).max()) for block in _sum_blocks(files, on_packet)), default=0.0)
    scale = 32767 / max(1.0, peak)
    with wave.open(str(target), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(PLAIN_RATE)
        for block in _sum_blocks(files, on_packet):
            wav.writeframesraw(np.rint(block * scale).astype("<i2").tobytes())
    return target


def _sum_blocks(files: Sequence[PathType], on_packet: OnPacket) -> Iterator[np.ndarray]:
    """Yield the sum of the files in blocks."""
    reads = [read_audio(file, PLAIN_RATE, on_problem=lambda _: None, on_packet=on_packet) for file in files]
    readers = [_equal_blocks(blocks) for blocks in reads]
    for blocks in itertools.zip_longest(*readers, fillvalue=np.zeros(0, np.float32)):
        total = np.zeros(max(map(len, blocks)), np.float32)
        for block in blocks:
            total[: len(block)] += block
        yield total


def _equal_blocks(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the same samples in blocks of BLOCK_SAMPLES; the last one may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= BLOCK_SAMPLES:
            yield rest[:BLOCK_SAMPLES]
            rest = rest[BLOCK_SAMPLES:]
    if len(rest):
        yield rest
