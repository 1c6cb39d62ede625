"""Interface of face detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


class DetectorError(Exception):
    """A detector is unavailable or cannot be used; the message is one sentence with the remedy."""


@dataclass(frozen=True)
class Face:
    """One detected face in one image."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels
    score: float  # detector confidence in [0, 1]
    # x, y in pixels of the eyes, nose tip and mouth corners, left to right in the image; None if not detected.
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)


class Detector(Protocol):
    """Detect faces in images."""

    name: str  # "s3fd", "mtcnn", "haar" or "retinaface", written into clip.json

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces.

        frames: images (H, W, 3) uint8 RGB, all of one size.
        Returns: the faces of each image by decreasing score; an empty list for an image without faces.
        """
        ...


@runtime_checkable
class CacheableDetector(Protocol):
    """A detector whose results can be cached from run to run."""

    @property
    def fingerprint(self) -> str:
        """Identifier that is equal for detectors with equal results, and differs otherwise."""
