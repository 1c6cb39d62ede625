"""Alignment of mel columns to video frames: the frame rate of data sets, and the mel window of each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wav2lip.audio.mel import MEL_BANDS, MEL_RATE, SAMPLE_RATE, SILENT_MEL

FPS = 25  # frame rate of data sets, on which the published networks were trained
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 640
WINDOW_FRAMES = 5  # 0.2 s
WINDOW_COLUMNS = 16  # 0.2 s
SILENT_WINDOW = np.full((MEL_BANDS, WINDOW_COLUMNS), SILENT_MEL, np.float32)
LEAD_COLUMNS = MEL_RATE / FPS  # 3.2: the window of a frame begins one frame (40 ms) before it


def first_column(frame: int) -> int:
    """Return the first mel column of the window of five frames that begins at `frame`, at 25 fps.

    Rounded down in this order of operations, as the published checkpoints expect; -1 gives -4. The generator's window
    of a single frame begins one frame earlier, at `first_column(frame - 1)`, and ends 160 ms after the frame.
    """
    return math.floor(MEL_RATE * (frame / FPS))


def window_starts(frames: np.ndarray) -> np.ndarray:
    """Return the frames at which five consecutive frames begin.

    frames: (N,) integers, ascending, with gaps.
    """
    last = WINDOW_FRAMES - 1
    return frames[:-last][frames[last:] - frames[:-last] == last]


def cut_window(mel: np.ndarray, start: int, first: int = 0) -> np.ndarray:
    """Return the window (80, 16) float32 that begins at column `start`; columns outside of the mel are silent.

    mel: (80, T) float32, from column `first` on.
    """
    window = SILENT_WINDOW.copy()
    left, right = max(start, first, 0), min(start + WINDOW_COLUMNS, first + mel.shape[1])
    if left < right:
        window[:, left - start : right - start] = mel[:, left - first : right - first]
    return window


class MelWindows(Protocol):
    """Sequence of the mel windows of the frames of a video."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def __getitem__(self, frame: int) -> np.ndarray:
        """Return the (80, 16) float32 window of one frame."""


@dataclass(frozen=True)
class InferenceWindows:
    """Mel windows of the frames of a video to be generated; outside the audio they are silent."""

    mel: np.ndarray  # (80, T) float32
    starts: np.ndarray  # (N,) int64: first column of each frame's window; may be outside the mel

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, frame: int) -> np.ndarray:
        """Return the (80, 16) float32 window of one frame."""
        return cut_window(self.mel, int(self.starts[frame]))

    @classmethod
    def build(cls, mel: np.ndarray, samples: int, fps: float) -> InferenceWindows:
        """Build windows for the frames of `samples` at 16 kHz; each begins 40 ms before its frame, as in training."""
        frames = max(1, math.ceil(samples * fps / SAMPLE_RATE - 1e-6))
        starts = np.floor(np.arange(frames) * (MEL_RATE / fps) - LEAD_COLUMNS).astype(np.int64)
        return cls(mel, starts)

    @classmethod
    def build_public(cls, mel: np.ndarray, fps: float) -> InferenceWindows:
        """Build upstream's windows, which begin at the frame itself: the mouth is 40 ms early.

        The first frame whose window would exceed the mel gets the last 16 columns and is the last frame.
        """
        per_frame = float(MEL_RATE) / fps  # computed once, for upstream's rounding of the product
        starts: list[int] = []
        while int(len(starts) * per_frame) + WINDOW_COLUMNS <= mel.shape[1]:
            starts.append(int(len(starts) * per_frame))
        return cls(mel, np.array([*starts, mel.shape[1] - WINDOW_COLUMNS], np.int64))


@dataclass(frozen=True)
class PaddedWindows:
    """Windows followed by silence."""

    windows: MelWindows
    length: int  # frames

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, frame: int) -> np.ndarray:
        """Return the (80, 16) float32 window of one frame."""
        return self.windows[frame] if frame < len(self.windows) else SILENT_WINDOW
