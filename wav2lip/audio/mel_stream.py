"""Mel windows of an audio file that is decoded on demand, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wav2lip.audio.mel import MEL_BANDS, SAMPLE_RATE, stream_mel
from wav2lip.audio.windows import WINDOW_COLUMNS, InferenceWindows, cut_window
from wav2lip.media import read_audio
from wav2lip.media.container import OnPacket, ignore_packet
from wav2lip.types import PathType

HISTORY_COLUMNS = 400  # 5 s kept before the last window: frames of a batch may be read in any order


class MelStream:
    """The windows of `InferenceWindows.build`, from a file.

    Read frames in order where possible: going back by more than 5 s restarts decoding. The file stays open
    from the first window until `close`.
    """

    def __init__(self, path: PathType, samples: int, fps: float, on_packet: OnPacket = ignore_packet):
        """path: readable file with `samples` of audio at 16 kHz. on_packet: see `read_audio`."""
        self._path, self._on_packet = path, on_packet
        self._starts = InferenceWindows.build(np.zeros((MEL_BANDS, 0), np.float32), samples, fps).starts
        self._rewind()

    def close(self) -> None:
        """Close the file; no window can be read after that."""
        self._audio.close()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, frame: int) -> np.ndarray:
        """Return the (80, 16) float32 window of one frame."""
        start = int(self._starts[frame])
        if max(start, 0) < self._first:
            self.close()
            self._rewind()
        self._read_until(start + WINDOW_COLUMNS, start - HISTORY_COLUMNS)
        return cut_window(self._mel, start, self._first)

    def _rewind(self) -> None:
        """Start decoding again. Problems of the file are not logged: counting its samples has logged them."""
        self._audio = read_audio(self._path, SAMPLE_RATE, on_problem=lambda _: None, on_packet=self._on_packet)
        self._pieces: Iterator[np.ndarray] = stream_mel(self._audio)
        self._mel = np.zeros((MEL_BANDS, 0), np.float32)
        self._first = 0  # column of the audio at which `_mel` begins

    def _read_until(self, end: int, oldest: int) -> None:
        """Decode the columns up to `end`, as far as the audio goes, and drop those before `oldest`."""
        while self._first + self._mel.shape[1] < end:
            piece = next(self._pieces, None)
            if piece is None:
                return
            drop = min(max(0, oldest - self._first), self._mel.shape[1])
            self._mel = np.concatenate([self._mel[:, drop:], piece], axis=1)
            self._first += drop
