"""The sound of a clip and its mel, a piece at a time: hours need no more memory than seconds."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2lip.audio import HOP, MEL_BANDS, SAMPLE_RATE, mel_pieces
from wav2lip.clips import AUDIO, MEL, ClipWriter
from wav2lip.media import read_audio


@dataclass(frozen=True)
class Sound:
    """What was written to audio.wav."""

    seconds: float
    peak: float  # largest absolute sample, in [0, 1]


def write_sound(
    writer: ClipWriter, path: Path, start: float, limit: int | None, on_problem: Callable[[str], object], jump: bool
) -> Sound:
    """Write a video's sound into a clip, 16 kHz mono.

    start: time in the video, in seconds, of the first sample. limit: samples at most.
    jump: see `wav2lip.media.read_audio`.
    """
    peak = 0.0

    def measured(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal peak
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            yield block

    samples = writer.write_audio(measured(_at_most(limit, read_audio(path, SAMPLE_RATE, start, on_problem, jump))))
    return Sound(samples / SAMPLE_RATE, peak)


def _at_most(limit: int | None, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    left = limit
    for block in blocks:
        if left is None:
            yield block
            continue
        yield block[:left]
        left -= min(left, len(block))
        if left == 0:
            return


def write_mel(folder: Path) -> None:
    """Write mel.npy for the audio.wav of a clip folder, with its modification time: so `Clip.mel` knows it is current.

    The sound must be as long as a mel window (0.05 s).
    """
    audio, kept = folder / AUDIO, folder / MEL
    with wave.open(str(audio)) as wav:
        mel = np.lib.format.open_memmap(kept, "w+", np.float32, (MEL_BANDS, 1 + wav.getnframes() // HOP))
        seconds = iter(lambda: wav.readframes(SAMPLE_RATE), b"")
        column = 0
        for piece in mel_pieces(np.frombuffer(second, "<i2").astype(np.float32) / 32768 for second in seconds):
            mel[:, column : column + piece.shape[1]] = piece
            column += piece.shape[1]
        mel.flush()
    stamp = audio.stat().st_mtime_ns
    os.utime(kept, ns=(stamp, stamp))
