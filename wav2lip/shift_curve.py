"""How far apart lips and sound are when the sound is moved against the lips.

Where a video is in sync, and its judge can tell, the curve has a dip at 0. One that goes by the speaker or the room
sees a flat line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SHIFT = 15  # frames that the sound is moved by, either way
SHIFTS = range(-MAX_SHIFT, MAX_SHIFT + 1)  # frames that the sound heard lies after the lips seen; 0 is as recorded


@dataclass(frozen=True)
class ShiftCurve:
    """Mean distance of lips and sound at each of SHIFTS."""

    distance: np.ndarray  # (31,) float: for a SyncNet 1 - cosine of the embeddings, which is in [0, 1]

    @property
    def offset(self) -> int:
        """Frames that the sound seems to lie after the lips: where the distance is least."""
        return SHIFTS[int(self.distance.argmin())]

    @property
    def least(self) -> float:
        """The distance there."""
        return float(self.distance.min())

    @property
    def margin(self) -> float:
        """How deep the dip is, median less minimum; near 0 where sync is not heard."""
        return float(np.median(self.distance)) - self.least
