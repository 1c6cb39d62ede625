"""The sound of a clip and its mel, a piece at a time: hours need no more memory than seconds."""

from __future__ import annotations

import os
import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2lip.audio import HOP, MEL_BANDS, SAMPLE_RATE, mel_pieces
from wav2lip.clips import AUDIO, MEL, ClipWriter
from wav2lip.media import read_audio

FLOAT = 4  # bytes of a sample while it is kept


@dataclass(frozen=True)
class Sound:
    """What was written to audio.wav."""

    seconds: float
    peak: float  # largest absolute sample, in [0, 1]


class VideoSound:
    """The sound of a video, from which its clips take theirs. Use as a context manager.

    Where the video can be jumped in, each clip's sound is decoded by itself; where it cannot, all of it is decoded
    once, as far as the clips reach, and kept in a temporary file of 230 MB an hour.
    """

    def __init__(self, path: Path, start: float, jump: bool, folder: Path):
        """start: time in the video, in seconds, of its first picture. jump: see `wav2lip.media.read_audio`.

        folder: where the temporary file may be; made if missing. The file has no name, so nothing can be left of it.
        """
        self._path, self._start, self._jump, self._folder = path, start, jump, folder
        self._heard: _Heard | None = None

    def __enter__(self) -> VideoSound:
        return self

    def __exit__(self, *_: object) -> None:
        if self._heard is not None:
            self._heard.close()
            self._heard = None

    def write(self, writer: ClipWriter, first: int, limit: int | None, on_problem: Callable[[str], object]) -> Sound:
        """Write audio.wav of a clip, 16 kHz mono.

        first: sample, counted from the first picture, with which the clip begins. limit: samples at most.
        on_problem: called with a sentence for each problem met up to the end of the clip.
        Raises: InputError if the video has no sound.
        """
        if self._jump:
            start = self._start + first / SAMPLE_RATE
            return write_sound(writer, self._path, start, limit, on_problem, jump=True)
        if self._heard is None:
            self._heard = _Heard(self._path, self._start, self._folder)
        last = None if limit is None else first + limit
        sound = _write(writer, self._heard.span(first, last))
        for problem in self._heard.problems(last):
            on_problem(problem)
        return sound


class _Heard:
    """A sound decoded once, as far as it was asked for, in a temporary file."""

    def __init__(self, path: Path, start: float, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        self._samples = 0  # in the file
        self._problems: list[tuple[int, str]] = []  # and after how many samples each was met
        self._blocks = read_audio(path, SAMPLE_RATE, start, self._note)

    def close(self) -> None:
        self._file.close()

    def span(self, first: int, last: int | None) -> Iterator[np.ndarray]:
        """Blocks of the samples from `first` up to `last`, or to the end."""
        self._decode(last)
        self._file.seek(first * FLOAT)
        left = max(0, (self._samples if last is None else min(last, self._samples)) - first)
        while left:
            block = np.frombuffer(self._file.read(min(left, SAMPLE_RATE) * FLOAT), np.float32)
            left -= len(block)
            yield block

    def problems(self, last: int | None) -> list[str]:
        """Those of the samples up to `last`, whatever else was decoded since: a clip is the same in every run."""
        return [problem for met, problem in self._problems if last is None or met < last]

    def _decode(self, last: int | None) -> None:
        self._file.seek(0, os.SEEK_END)
        while last is None or self._samples < last:
            block = next(self._blocks, None)
            if block is None:
                return
            self._file.write(block.tobytes())
            self._samples += len(block)

    def _note(self, problem: str) -> None:
        self._problems.append((self._samples, problem))


def write_sound(
    writer: ClipWriter, path: Path, start: float, limit: int | None, on_problem: Callable[[str], object], jump: bool
) -> Sound:
    """Write a video's sound into a clip, 16 kHz mono.

    start: time in the video, in seconds, of the first sample. limit: samples at most.
    jump: see `wav2lip.media.read_audio`.
    """
    return _write(writer, _at_most(limit, read_audio(path, SAMPLE_RATE, start, on_problem, jump)))


def _write(writer: ClipWriter, blocks: Iterable[np.ndarray]) -> Sound:
    peak = 0.0

    def measured() -> Iterator[np.ndarray]:
        nonlocal peak
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            yield block

    samples = writer.write_audio(measured())
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
