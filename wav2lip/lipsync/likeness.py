"""Who looks most like a given face, by plain appearance: no network that knows people is needed, and none is matched.

Light and dark parts of the face (oriented gradients) and its colours are compared. That tells people of one video
apart whose hair, skin, beard, glasses or light differ; it does not tell twins apart, nor find someone whose picture was
taken in quite another light or from the side. Give another `Describe` to do better.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Describe = Callable[[np.ndarray], np.ndarray]  # face crop (h, w, 3) uint8 RGB to a vector of length 1

SIDE = 64  # pixels: width and height at which faces are compared
ALIKE = 0.72  # half way between one person at two times and two persons, see docs/detection.md
BINS = 16  # of each colour channel


def appearance(crop: np.ndarray) -> np.ndarray:
    """Gradients and colours of a face crop (h, w, 3) uint8 RGB, as (N,) float32 of length 1."""
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    gradients = np.asarray(cv2.HOGDescriptor((SIDE, SIDE), (16, 16), (16, 16), (8, 8), 9).compute(grey)).ravel()
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    colours = cv2.calcHist([lab], [1, 2], None, [BINS, BINS], [96, 192, 96, 192]).ravel()
    parts = [_of_length_1(gradients - gradients.mean()), _of_length_1(np.sqrt(colours))]
    return _of_length_1(np.concatenate(parts))


def _of_length_1(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length if length else vector, np.float32)
