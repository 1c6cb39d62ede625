"""What every face detector takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


class DetectorError(Exception):
    """A detector cannot be had or used; the text is one sentence with the remedy."""


@dataclass(frozen=True)
class Face:
    """One face in one picture."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the picture
    score: float  # detector confidence in [0, 1]
    landmarks: tuple[tuple[float, float], ...] | None = None  # x, y in pixels of the eyes, nose tip and mouth corners,
    #   the left in the picture before the right; None where the detector gives none

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)


class Detector(Protocol):
    """Pictures in, faces out."""

    name: str  # "s3fd", "mtcnn" or "haar", written into clip.json

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find faces.

        frames: pictures (H, W, 3) uint8 RGB, all of one size.
        Returns: for each picture its faces, the most certain first; an empty list where there is none.
        """
        ...


@runtime_checkable
class Identified(Protocol):
    """A detector whose finds can be kept from run to run."""

    @property
    def fingerprint(self) -> str:
        """The same for detectors that find the same faces, another one for others."""
