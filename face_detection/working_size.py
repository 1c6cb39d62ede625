"""The size at which faces are looked for, whatever the size of the picture."""

from __future__ import annotations

import cv2
import numpy as np


def shrunk(picture: np.ndarray, max_side: int) -> tuple[np.ndarray, float]:
    """The picture, its longer side no more than `max_side` pixels, and how many original pixels one of its pixels is.

    picture: (H, W) or (H, W, 3) uint8.
    """
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer <= max_side:
        return picture, 1.0
    scale = longer / max_side
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), scale
