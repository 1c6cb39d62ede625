"""Downscaling of images before detection."""

from __future__ import annotations

import cv2
import numpy as np


def downscale_to(image: np.ndarray, max_side: int) -> tuple[np.ndarray, float]:
    """Downscale an image (H, W) or (H, W, 3) uint8 so that its longer side is at most `max_side` pixels.

    Returns: the image, and the factor from its pixels to the original's.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer <= max_side:
        return image, 1.0
    scale = longer / max_side
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale
