"""Order of the frames of a prepared face: back and forth in steps of one frame, so that the picture never jumps."""

from __future__ import annotations

import numpy as np

IDLE_S = 2.0  # length of the part that is played while nobody speaks


class FrameOrder:
    """Index of the frame to show: the whole video while somebody speaks, its stillest part otherwise."""

    def __init__(self, count: int, idle: tuple[int, int]):
        """count: frames. idle: first and last index of the part for silence."""
        self._last, self._idle = count - 1, idle
        self._index, self._step = -1, 1

    def next(self, is_speaking: bool) -> int:
        """Return the index of the next frame, which neighbors the previous one; the first one is 0."""
        first, last = (0, self._last) if is_speaking else self._idle
        if self._index < 0:
            self._index = 0
        elif self._last:
            if self._index >= last:
                self._step = -1
            elif self._index <= first:
                self._step = 1
            self._index = min(max(self._index + self._step, 0), self._last)
        return self._index


def find_idle_part(motion: np.ndarray, length: int) -> tuple[int, int]:
    """Return the first and last index of the `length` frames with the least motion.

    motion: (N - 1,) mean absolute difference between neighboring frames.
    """
    count = len(motion) + 1
    if length >= count:
        return 0, count - 1
    sums = np.convolve(motion, np.ones(max(1, length - 1)), "valid")
    first = int(sums.argmin())
    return first, first + length - 1
