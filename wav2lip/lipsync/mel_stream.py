"""The mel windows of a sound that is read as the frames go on, so that hours of it need no memory."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import numpy as np

from wav2lip.audio import MEL_BANDS, SAMPLE_RATE, SILENCE, mel_pieces
from wav2lip.media import read_audio
from wav2lip.windows import WINDOW_COLUMNS, InferenceWindows

KEPT = 400  # columns behind the last window that was asked for, 5 s: frames of a batch may be asked for in any order


class MelStream:
    """The windows of `InferenceWindows.covering`, from the file.

    Frames are best asked for in order. Who goes back by more than 5 s makes it read the sound from its beginning.
    The file is open from the first window on until this is closed.
    """

    def __init__(self, path: str | PathLike[str], samples: int, fps: float):
        """path: file with sound of so many samples at 16 kHz, that can be read. fps: frames a second."""
        self._path = path
        self._starts = InferenceWindows.covering(np.zeros((MEL_BANDS, 0), np.float32), samples, fps).starts
        self._begin()

    def close(self) -> None:
        """Let go of the file; no further window can be asked for."""
        self._sound.close()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, frame: int) -> np.ndarray:
        """The (80, 16) float32 window of one frame."""
        start = int(self._starts[frame])
        if max(start, 0) < self._first:
            self.close()
            self._begin()
        self._read_to(start + WINDOW_COLUMNS, start - KEPT)
        window = np.full((MEL_BANDS, WINDOW_COLUMNS), SILENCE, np.float32)
        left = max(start, 0)
        heard = self._mel[:, left - self._first : start + WINDOW_COLUMNS - self._first]
        window[:, left - start : left - start + heard.shape[1]] = heard
        return window

    def _begin(self) -> None:
        """Go to the beginning of the sound, whose trouble was told when its samples were counted."""
        self._sound = read_audio(self._path, SAMPLE_RATE, on_problem=lambda _: None)
        self._pieces: Iterator[np.ndarray] = mel_pieces(self._sound)
        self._mel = np.zeros((MEL_BANDS, 0), np.float32)
        self._first = 0  # column of the sound that the mel begins with

    def _read_to(self, end: int, keep_from: int) -> None:
        """Hold the columns up to `end`, where the sound has so many, and none before `keep_from`."""
        while self._first + self._mel.shape[1] < end:
            piece = next(self._pieces, None)
            if piece is None:
                return
            drop = min(max(0, keep_from - self._first), self._mel.shape[1])
            self._mel = np.concatenate([self._mel[:, drop:], piece], axis=1)
            self._first += drop
