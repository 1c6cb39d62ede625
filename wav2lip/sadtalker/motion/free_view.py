"""Head angles that are given by the user and replace the predicted ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def head_angles(degrees: Sequence[float], frames: int, compat: str = "none") -> np.ndarray:
    """Return the angle of each frame, (frames,) float64 degrees, moving through the given angles at constant speed.

    degrees: at least one angle.
    compat: "public" ends one step before the last angle and turns within a frame, as the reference does.
    """
    distances = np.cumsum([0.0, *(abs(end - start) for start, end in pairwise(degrees))])
    travel = float(distances[-1])
    if not travel or frames < 2:
        return np.full(frames, float(degrees[0]))
    if compat != "public":
        return np.interp(np.linspace(0, travel, frames), distances, degrees)
    step = travel / (frames - 1)
    legs = [np.arange(start, end, np.copysign(step, end - start)) for start, end in pairwise(degrees) if start != end]
    path = np.concatenate(legs)[:frames]
    return np.concatenate([path, np.full(frames - len(path), path[-1])])
