"""Motion windows: the coefficients around each frame of the result, resampled from 25 fps to its frame rate."""

from __future__ import annotations

import numpy as np

WINDOW_FRAMES = 27  # centered on a frame, at 25 fps
RADIUS = WINDOW_FRAMES // 2


def motion_windows(coefficients: np.ndarray, positions: np.ndarray, loop: bool = False) -> np.ndarray:
    """Return the window of coefficients around each position.

    coefficients: (T, C) float32 at 25 fps. positions: (N,) in frames at 25 fps, interpolated linearly.
    loop: continue with the first frame after the last one; otherwise the frames at both ends are repeated.
    Returns: (N, C, 27) float32.
    """
    times = positions[:, None] + np.arange(-RADIUS, RADIUS + 1)  # (N, 27)
    lower = np.floor(times)
    share = (times - lower)[..., None].astype(np.float32)
    indices = lower.astype(np.int64)
    if loop:
        before, after = indices % len(coefficients), (indices + 1) % len(coefficients)
    else:
        before, after = (np.clip(each, 0, len(coefficients) - 1) for each in (indices, indices + 1))
    first = coefficients[before]
    windows = first + share * (coefficients[after] - first) if share.any() else first
    return windows.transpose(0, 2, 1)
