"""Which mel columns belong to which frame of video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wav2lip.audio import MEL_BANDS, MEL_RATE, SAMPLE_RATE, SILENCE

FPS = 25.0  # frames a second of every data set
WINDOW_FRAMES = 5  # frames in a window: 0.2 s
WINDOW_COLUMNS = 16  # mel columns in a window: 0.2 s
LEAD_COLUMNS = MEL_RATE / FPS  # 3.2: the window of a frame begins one frame (40 ms) before it


def first_column(frame: int) -> int:
    """Mel column at which the window of five frames that begins at `frame` begins, at 25 frames a second.

    Cut down to a whole column in this order of operations, as the published checkpoints expect; -1 gives -4.
    """
    return math.floor(MEL_RATE * (frame / FPS))


def frame_columns(frame: int) -> int:
    """Mel column at which the window of the single frame `frame` begins in generator training.

    It begins one frame early, so the generator hears the sound from 40 ms before the frame to 160 ms after.
    """
    return first_column(frame - 1)


def whole_windows(frames: np.ndarray) -> np.ndarray:
    """The frames that begin five consecutive ones.

    frames: (N,) integers, ascending, with gaps. Returns: those of them, in order.
    """
    reach = WINDOW_FRAMES - 1
    return frames[:-reach][frames[reach:] - frames[:-reach] == reach]


class Windows(Protocol):
    """The mel window under every frame of a video to be made."""

    def __len__(self) -> int:
        """Frames."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """The (80, 16) float32 window of one frame."""


@dataclass(frozen=True)
class InferenceWindows:
    """The mel window under every frame of a video to be made.

    Each window begins 40 ms before its frame, as in training, at any frame rate. The frames cover the whole sound:
    columns before its beginning and after its end are silence.
    """

    mel: np.ndarray  # (80, T) float32
    starts: np.ndarray  # (N,) int64: first column of each frame's window; may lie outside the mel

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, frame: int) -> np.ndarray:
        """The (80, 16) float32 window of one frame."""
        start = int(self.starts[frame])
        window = np.full((MEL_BANDS, WINDOW_COLUMNS), SILENCE, np.float32)
        left, right = max(start, 0), min(start + WINDOW_COLUMNS, self.mel.shape[1])
        if left < right:
            window[:, left - start : right - start] = self.mel[:, left:right]
        return window

    @classmethod
    def covering(cls, mel: np.ndarray, samples: int, fps: float) -> InferenceWindows:
        """Windows for as many frames as the sound of `samples` at 16 kHz lasts at `fps` frames a second."""
        frames = max(1, math.ceil(samples * fps / SAMPLE_RATE - 1e-6))
        starts = np.floor(np.arange(frames) * (MEL_RATE / fps) - LEAD_COLUMNS).astype(np.int64)
        return cls(mel, starts)

    @classmethod
    def public(cls, mel: np.ndarray, fps: float) -> InferenceWindows:
        """The public release's windows: begun at the frame itself, so the mouth is 40 ms early, and cut short.

        The first frame whose window would pass the end takes the last 16 columns and is the last frame.
        """
        per_frame = float(MEL_RATE) / fps  # computed once: the product below must round as the release's does
        starts: list[int] = []
        while int(len(starts) * per_frame) + WINDOW_COLUMNS <= mel.shape[1]:
            starts.append(int(len(starts) * per_frame))
        return cls(mel, np.array([*starts, mel.shape[1] - WINDOW_COLUMNS], np.int64))
