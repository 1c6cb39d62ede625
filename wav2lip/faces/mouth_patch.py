"""The upright mouth of a face, by its landmarks or at the average place of a mouth in a box."""

from __future__ import annotations

import cv2
import numpy as np

# For faces without landmarks: the means over five real clips (MTCNN, default pads) are 0.51, 0.74 and 0.35.
DEFAULT_MOUTH = (0.5, 0.735)  # center of the mouth, in widths and heights of the box
DEFAULT_EYE_MOUTH_DISTANCE = 0.35  # from the center of the eyes to that of the mouth, in heights of the box

PATCH_SIZE = 64  # pixels of the mouth patch
PATCH_SCALE = 1.2  # its side, in distances from the eyes to the mouth


def mouth_patch(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return the upright mouth of a face: (PATCH_SIZE, PATCH_SIZE, 3) uint8, from cheek to cheek and nose to chin.

    frame: (H, W, 3) uint8. landmarks: (5, 2), as in `Face`.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = (mouth - eyes) * PATCH_SCALE / PATCH_SIZE  # one pixel of the patch
    across = np.array([down[1], -down[0]])
    corner = mouth - PATCH_SIZE / 2 * across - PATCH_SIZE / 3 * down
    to_frame = np.column_stack([across, down, corner])
    return cv2.warpAffine(frame, to_frame, (PATCH_SIZE, PATCH_SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def average_landmarks(box: np.ndarray) -> np.ndarray:
    """Return landmarks (5, 2) of an upright face in a box (4,); of eyes and mouth only the centers are meaningful."""
    left, top, right, bottom = box
    mouth = np.array([left + DEFAULT_MOUTH[0] * (right - left), top + DEFAULT_MOUTH[1] * (bottom - top)])
    eyes = mouth - (0, DEFAULT_EYE_MOUTH_DISTANCE * (bottom - top))
    return np.array([eyes, eyes, (eyes + mouth) / 2, mouth, mouth], np.float32)
