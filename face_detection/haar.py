"""OpenCV's Haar cascade: frontal faces only, but nothing to download."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import cv2.data
import numpy as np

from face_detection.interface import DetectorError, Face
from face_detection.working_size import shrunk

CASCADE = "haarcascade_frontalface_alt.xml"  # fewest false faces of the four frontal ones, see docs/face_boxes.md
STAGES = 22  # in that cascade; a group of windows none of which passed them all is no face
MAX_SIDE = 480  # pixels: larger pictures are shrunk, or 1080 x 1920 would take a second
MIN_SIDE = 28  # pixels of the shrunk picture: smallest square that is looked for
SCALE_STEP = 1.1  # ratio of neighbouring square sizes
MIN_NEIGHBOURS = 4  # windows that must agree

# The last stage's sum runs from 106 to 110. Its weakest true faces score about 0.5, as S3FD's do; typical ones 0.99.
EVEN_WEIGHT, WEIGHT_SCALE = 106.4, 0.6

# From the cascade's square to the box S3FD would give: fitted, see docs/face_boxes.md. In sides of the square.
SHIFT_X, SHIFT_Y = 0.0, 0.026
WIDTH, HEIGHT = 0.806, 1.115


class Haar:
    """Finds upright frontal faces on the CPU, about 14 pictures a second on one core."""

    name = "haar"

    def __init__(self, max_side: int = MAX_SIDE):
        """max_side: longer side in pixels to which larger pictures are shrunk for detection."""
        if not hasattr(cv2, "CascadeClassifier"):
            raise DetectorError(f"OpenCV {cv2.__version__} has no Haar cascades; install opencv-python-headless<5")
        path = Path(cv2.data.haarcascades) / CASCADE
        self.max_side = max_side
        self.cascade = cv2.CascadeClassifier(str(path))
        self._one_at_a_time = threading.Lock()  # the cascade keeps what it works on
        if self.cascade.empty():
            raise DetectorError(f"{path} is missing or damaged; reinstall opencv-python-headless")

    @property
    def fingerprint(self) -> str:
        """What the faces that are found depend on."""
        return f"{self.name}, shrunk to {self.max_side}, OpenCV {cv2.__version__}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find faces.

        frames: pictures (H, W, 3) uint8 RGB, all of one size.
        Returns: for each picture its faces, the most certain first. Boxes have S3FD's geometry: forehead to chin, no
            box starts left of or above the picture, but it may end beyond it.
        """
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: np.ndarray) -> list[Face]:
        picture, scale = shrunk(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self.max_side)
        with self._one_at_a_time:
            squares, stages, weights = self.cascade.detectMultiScale3(
                picture,
                scaleFactor=SCALE_STEP,
                minNeighbors=MIN_NEIGHBOURS,
                minSize=(MIN_SIDE, MIN_SIDE),
                outputRejectLevels=True,
            )
        found = zip(squares, stages, weights, strict=True)
        faces = [
            Face(_calibrated(left * scale, top * scale, side * scale), _score(float(weight)))
            for (left, top, side, _), passed, weight in found
            if passed >= STAGES
        ]
        return sorted(faces, key=lambda face: face.score, reverse=True)


def _calibrated(left: float, top: float, side: float) -> tuple[float, float, float, float]:
    """S3FD's box for the cascade's square, all in pixels of the picture."""
    x = left + side * (0.5 + SHIFT_X)
    y = top + side * (0.5 + SHIFT_Y)
    half_width, half_height = side * WIDTH / 2, side * HEIGHT / 2
    return (
        float(max(0.0, x - half_width)),
        float(max(0.0, y - half_height)),
        float(x + half_width),
        float(y + half_height),
    )


def _score(weight: float) -> float:
    """The cascade's weight as a confidence in [0, 1]: it orders faces, it is no probability."""
    return 1 / (1 + math.exp((EVEN_WEIGHT - weight) / WEIGHT_SCALE))
