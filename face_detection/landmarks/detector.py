"""Landmarks for detectors that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from face_detection.interface import Detector, Face
from face_detection.landmarks.fan68 import Box

NOSE_TIP, MOUTH_CORNERS = 30, (48, 54)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # left in the image


class Landmarker(Protocol):
    """Locate the 68 landmarks of the 300-W scheme."""

    @property
    def fingerprint(self) -> str:
        """Identifier of everything that the landmarks depend on."""

    def locate(self, frames: Sequence[np.ndarray], boxes: Sequence[Box]) -> np.ndarray:
        """Locate the landmarks of one face in each frame.

        frames: (H, W, 3) uint8 RGB. boxes: left, top, right, bottom in pixels.
        Returns: (N, 68, 2), x and y in pixels.
        """


class LandmarkDetector:
    """A detector whose faces get their five landmarks from a `Landmarker`."""

    def __init__(self, detector: Detector, landmarker: Landmarker):
        self.detector, self.landmarker = detector, landmarker
        self.name = detector.name

    @property
    def fingerprint(self) -> str | None:
        """Identifier of detector and landmarks; None if the detector has none."""
        fingerprint = getattr(self.detector, "fingerprint", None)
        return None if fingerprint is None else f"{fingerprint}; {self.landmarker.fingerprint}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces with landmarks, see `face_detection.interface.Detector`."""
        detections = self.detector.detect(frames)
        owners = [(frame, face) for frame, faces in zip(frames, detections, strict=True) for face in faces]
        points = iter(self.landmarker.locate([frame for frame, _ in owners], [face.box for _, face in owners]))
        return [[replace(face, landmarks=five_points(next(points))) for face in faces] for faces in detections]


def five_points(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Reduce 68 landmarks (68, 2) to those of `Face`: eyes, nose tip and mouth corners, left to right."""
    left, right = MOUTH_CORNERS
    eyes = points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)
    rows = (*eyes, points[NOSE_TIP], points[left], points[right])
    return tuple((float(x), float(y)) for x, y in rows)
