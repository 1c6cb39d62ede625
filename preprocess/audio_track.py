"""Audio and mel spectrograms of clips, processed in blocks so that memory does not grow with the length of a video."""

from __future__ import annotations

import os
import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2lip.audio.mel import HOP_SAMPLES, MEL_BANDS, SAMPLE_RATE, stream_mel
from wav2lip.dataset.clip import AUDIO, ClipWriter
from wav2lip.dataset.mel_cache import MEL, mel_key
from wav2lip.media import read_audio
from wav2lip.types import PathType

BYTES_PER_SAMPLE = 4  # float32, in the temporary file


@dataclass(frozen=True)
class AudioStats:
    """Length and level of a written audio.wav."""

    seconds: float
    peak: float  # largest absolute sample, in [0, 1]


class VideoAudio:
    """Audio of a video, from which its clips are cut. Use as a context manager.

    In a seekable video the audio of each clip is decoded separately; otherwise all of it is decoded once, up to the
    last clip, into a temporary file of 230 MB per hour.
    """

    def __init__(self, path: PathType, start: float, seekable: bool, folder: Path):
        """start: time in the video, in seconds, of its first frame. seekable: see `wav2lip.media.read_audio`.

        folder: for the temporary file; created if missing. The file has no name, so a killed run leaves none behind.
        """
        self._path, self._start, self._seekable, self._folder = path, start, seekable, folder
        self._decoded: _DecodedAudio | None = None

    def __enter__(self) -> VideoAudio:
        return self

    def __exit__(self, *_: object) -> None:
        if self._decoded is not None:
            self._decoded.close()
            self._decoded = None

    def write(
        self, writer: ClipWriter, first: int, limit: int | None, on_problem: Callable[[str], object]
    ) -> AudioStats:
        """Write audio.wav of a clip, 16 kHz mono.

        first: first sample of the clip, counted from the first frame of the video. limit: maximum number of samples.
        on_problem: called with a message for each problem up to the end of the clip.
        Raises: InputError if the video has no audio.
        """
        if self._seekable:
            start = self._start + first / SAMPLE_RATE
            return write_audio(writer, self._path, start, limit, on_problem, seekable=True)
        if self._decoded is None:
            self._decoded = _DecodedAudio(self._path, self._start, self._folder)
        last = None if limit is None else first + limit
        stats = _write_blocks(writer, self._decoded.read(first, last))
        for problem in self._decoded.problems(last):
            on_problem(problem)
        return stats


class _DecodedAudio:
    """Audio decoded once and only as far as needed, in a temporary file."""

    def __init__(self, path: PathType, start: float, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._samples = 0  # decoded so far
        self._problems: list[tuple[int, str]] = []  # with the number of samples decoded before each
        self._blocks = read_audio(path, SAMPLE_RATE, start, self._add_problem)

    def close(self) -> None:
        self._file.close()

    def read(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Yield blocks of the samples from `first` up to `last`, or to the end."""
        self._decode_until(last)
        self._file.seek(first * BYTES_PER_SAMPLE)
        remaining = max(0, (self._samples if last is None else min(last, self._samples)) - first)
        while remaining:
            block = np.frombuffer(self._file.read(min(remaining, SAMPLE_RATE) * BYTES_PER_SAMPLE), np.float32)
            remaining -= len(block)
            yield block

    def problems(self, last: int | None) -> list[str]:
        """Return the problems before sample `last`, even if more was decoded: a clip is the same in every run."""
        return [problem for position, problem in self._problems if last is None or position < last]

    def _decode_until(self, last: int | None) -> None:
        self._file.seek(0, os.SEEK_END)
        while last is None or self._samples < last:
            block = next(self._blocks, None)
            if block is None:
                return
            self._file.write(block.tobytes())
            self._samples += len(block)

    def _add_problem(self, problem: str) -> None:
        self._problems.append((self._samples, problem))


def write_audio(
    writer: ClipWriter, path: PathType, start: float, limit: int | None, on_problem: Callable[[str], object],
    seekable: bool,
) -> AudioStats:  # fmt: skip
    """Write the audio of a video into a clip, 16 kHz mono.

    start: time in the video, in seconds, of the first sample. limit: maximum number of samples.
    seekable: see `wav2lip.media.read_audio`.
    """
    return _write_blocks(writer, _truncate(read_audio(path, SAMPLE_RATE, start, on_problem, seekable), limit))


def _write_blocks(writer: ClipWriter, blocks: Iterable[np.ndarray]) -> AudioStats:
    peak = 0.0

    def track_peak() -> Iterator[np.ndarray]:
        nonlocal peak
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            yield block

    samples = writer.write_audio(track_peak())
    return AudioStats(samples / SAMPLE_RATE, peak)


def _truncate(blocks: Iterable[np.ndarray], limit: int | None) -> Iterator[np.ndarray]:
    remaining = limit
    for block in blocks:
        if remaining is None:
            yield block
            continue
        yield block[:remaining]
        remaining -= min(remaining, len(block))
        if remaining == 0:
            return


def write_mel(folder: Path) -> None:
    """Write the mel cache of a clip folder.

    The audio must be at least as long as a mel window (0.05 s).
    """
    audio, cache = folder / AUDIO, folder / MEL
    with wave.open(str(audio)) as wav:
        mel = np.lib.format.open_memmap(cache, "w+", np.float32, (MEL_BANDS, 1 + wav.getnframes() // HOP_SAMPLES))
        seconds = iter(lambda: wav.readframes(SAMPLE_RATE), b"")
        column = 0
        for piece in stream_mel(np.frombuffer(second, "<i2").astype(np.float32) / 32768 for second in seconds):
            mel[:, column : column + piece.shape[1]] = piece
            column += piece.shape[1]
        mel.flush()
    with cache.open("ab") as file:
        file.write(mel_key(audio))
