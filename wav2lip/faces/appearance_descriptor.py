"""Appearance descriptor of a face: gradients and colors, without a face recognition network.

It distinguishes the people of one video by hair, skin, beard, glasses or lighting. It fails for twins, and for photos
with very different lighting or pose. Another `Descriptor` can replace it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Descriptor = Callable[[np.ndarray], np.ndarray]  # face crop (h, w, 3) uint8 RGB to a unit vector

FACE_SIZE = 64  # pixels: width and height to which faces are resized
SIMILARITY_THRESHOLD = 0.72  # midway between the means of the same person and of two persons, see docs/detection.md
HISTOGRAM_BINS = 16  # per color channel


def describe_appearance(crop: np.ndarray) -> np.ndarray:
    """Describe a face crop (h, w, 3) uint8 RGB by gradients and colors as a unit vector (N,) float32."""
    small = cv2.resize(crop, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
    gray = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    hog = cv2.HOGDescriptor((FACE_SIZE, FACE_SIZE), (16, 16), (16, 16), (8, 8), 9)
    gradients = np.asarray(hog.compute(gray)).ravel()
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    colors = cv2.calcHist([lab], [1, 2], None, [HISTOGRAM_BINS, HISTOGRAM_BINS], [96, 192, 96, 192]).ravel()
    vectors = [_normalize(gradients - gradients.mean()), _normalize(np.sqrt(colors))]
    return _normalize(np.concatenate(vectors))


def _normalize(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length if length else vector, np.float32)
