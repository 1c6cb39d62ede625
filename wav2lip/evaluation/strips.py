"""A few faces of a video side by side, to be looked at."""

from __future__ import annotations

import cv2
import numpy as np

from wav2lip.evaluation.metrics.look import Look

PICTURES = 8
SIDE = 112  # pixels of each


class Strip:
    """Keeps evenly spread frames of a video."""

    def __init__(self, frames: int):
        """frames: how many there will be, about."""
        self._wanted = set(np.linspace(0, max(0, frames - 1), PICTURES + 2).astype(int)[1:-1].tolist())
        self._kept: list[np.ndarray] = []

    def add(self, look: Look) -> None:
        """The next frame with a face."""
        if look.number in self._wanted:
            self._kept.append(cv2.resize(look.face, (SIDE, SIDE), interpolation=cv2.INTER_AREA))

    def picture(self) -> np.ndarray | None:
        """(112, 112 * n, 3) uint8 RGB of n <= 8 faces; None if none of them had a face."""
        return np.concatenate(self._kept, axis=1) if self._kept else None
