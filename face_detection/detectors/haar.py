"""OpenCV's Haar cascade: frontal faces only, but no weights to download."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import cv2.data
import numpy as np

from face_detection.interface import DetectorError, Face
from face_detection.resize import downscale_to

CASCADE = "haarcascade_frontalface_alt.xml"  # fewest false positives of the four frontal ones, see docs/face_boxes.md
NUM_STAGES = 22  # a window that has not passed all stages is not a face
MAX_SIDE = 480  # pixels to which larger images are downscaled; 1080 x 1920 would take a second
MIN_SIDE = 28  # pixels of the downscaled image: smallest window
SCALE_STEP = 1.1  # ratio of neighboring window sizes
MIN_NEIGHBORS = 4  # overlapping windows required for a detection

# The last stage's sum ranges from 106 to 110. Its weakest true faces score about 0.5, as S3FD's do; typical ones 0.99.
MIDPOINT_WEIGHT, WEIGHT_SCALE = 106.4, 0.6

# Mapping from the cascade's window to S3FD's box, fitted, as fractions of the window's size; see docs/face_boxes.md.
SHIFT_X, SHIFT_Y = 0.0, 0.026
WIDTH_RATIO, HEIGHT_RATIO = 0.806, 1.115


class Haar:
    """Detect upright frontal faces on the CPU, about 14 images per second on one core."""

    name = "haar"

    def __init__(self, max_side: int = MAX_SIDE):
        """max_side: pixels to which the longer side of larger images is downscaled for detection."""
        if not hasattr(cv2, "CascadeClassifier"):
            raise DetectorError(f"OpenCV {cv2.__version__} has no Haar cascades; install opencv-python-headless<5")
        path = Path(cv2.data.haarcascades) / CASCADE
        self.max_side = max_side
        self.cascade = cv2.CascadeClassifier(str(path))
        self._lock = threading.Lock()  # the cascade keeps state during a detection
        if self.cascade.empty():
            raise DetectorError(f"{path}: missing or corrupt; reinstall opencv-python-headless")

    @property
    def fingerprint(self) -> str:
        """Identifier of everything that the detections depend on."""
        return f"{self.name}, max_side {self.max_side}, OpenCV {cv2.__version__}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces.

        frames: images (H, W, 3) uint8 RGB, all of one size.
        Returns: the faces of each image by decreasing score. Boxes have S3FD's geometry, forehead to chin; they do not
            start outside the image, but may end outside it.
        """
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: np.ndarray) -> list[Face]:
        image, scale = downscale_to(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self.max_side)
        with self._lock:
            windows, stages, weights = self.cascade.detectMultiScale3(
                image,
                scaleFactor=SCALE_STEP,
                minNeighbors=MIN_NEIGHBORS,
                minSize=(MIN_SIDE, MIN_SIDE),
                outputRejectLevels=True,
            )
        faces = [
            Face(_calibrate(left * scale, top * scale, side * scale), _score(float(weight)))
            for (left, top, side, _), passed_stages, weight in zip(windows, stages, weights, strict=True)
            if passed_stages >= NUM_STAGES
        ]
        return sorted(faces, key=lambda face: face.score, reverse=True)


def _calibrate(left: float, top: float, side: float) -> tuple[float, float, float, float]:
    """Convert the cascade's window to S3FD's box, both in pixels of the image."""
    x = left + side * (0.5 + SHIFT_X)
    y = top + side * (0.5 + SHIFT_Y)
    half_width, half_height = side * WIDTH_RATIO / 2, side * HEIGHT_RATIO / 2
    return (
        float(max(0.0, x - half_width)),
        float(max(0.0, y - half_height)),
        float(x + half_width),
        float(y + half_height),
    )


def _score(weight: float) -> float:
    """Map the cascade's weight to a confidence in [0, 1]; it ranks faces and is not a probability."""
    return 1 / (1 + math.exp((MIDPOINT_WEIGHT - weight) / WEIGHT_SCALE))
