"""Landmarks of a face as the crop and the alignment use them: 68 points (300-W scheme) or five.

The five points are the eyes, the nose tip and the mouth corners, left to right in the image.
"""

from __future__ import annotations

import numpy as np

NUM_POINTS = (68, 5)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS = (36, 39), (42, 45)
NOSE_TIP = 30
MOUTH_CORNERS = (48, 54)


def eye_centers(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of the left and the right eye, (2,) each, of landmarks (68, 2) or (5, 2)."""
    if len(landmarks) == 5:
        return landmarks[0], landmarks[1]
    return landmarks[LEFT_EYE].mean(axis=0), landmarks[RIGHT_EYE].mean(axis=0)


def mouth_corners(landmarks: np.ndarray) -> np.ndarray:
    """Return the mouth corners (2, 2) of landmarks (68, 2) or (5, 2)."""
    return landmarks[3:] if len(landmarks) == 5 else landmarks[list(MOUTH_CORNERS)]


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Return eyes, nose tip and mouth corners (5, 2) of landmarks (68, 2) or (5, 2)."""
    if len(landmarks) == 5:
        return landmarks
    eyes = [landmarks[list(corners)].mean(axis=0) for corners in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS)]
    return np.stack([*eyes, landmarks[NOSE_TIP], *mouth_corners(landmarks)])
