"""Annotated faces of test images, and a detector of colored rectangles."""

from __future__ import annotations

import cv2
import numpy as np

from face_detection.interface import Face
from face_detection.tracking.offline_tracker import track_faces

# Forehead to chin and cheek to cheek, annotated by hand: left, top, right, bottom in pixels.
FACE_BOXES = {
    "astronaut": (178, 70, 272, 189),
    "photo_person.png": (153, 54, 306, 265),
    "photo_painting.png": (203, 215, 501, 662),
}

HEIGHT, WIDTH = 240, 320
RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
LANDMARKS = tuple((0.3 + 0.1 * i, 0.3) for i in range(5))  # as fractions of the box


def read_rgb(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def box_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(0, width) * max(0, height)
    return intersection / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection)


def draw_faces(*faces):
    """Draw rectangles (color, left, top), 40 wide and 50 high, on a gray frame, clipped to it."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for color, left, top in faces:
        frame[max(0, top) : max(0, top + 50), max(0, left) : max(0, left + 40)] = color
    return frame


class RGBDetector:
    """Detect red, green and blue rectangles as faces, and record the sizes of the images."""

    name = "colour"

    def __init__(self, landmarks=False):
        self.landmarks = landmarks
        self.sizes = []

    def detect(self, frames):
        assert len({frame.shape for frame in frames}) <= 1, "images of a batch must have one size"
        self.sizes += [frame.shape[:2] for frame in frames]
        return [[face for channel in range(3) for face in self._faces(frame, channel)] for frame in frames]

    def _faces(self, frame, channel):
        other_channels = np.delete(frame, channel, axis=2).max(axis=2)
        rows, columns = np.nonzero((frame[..., channel] > 125) & (other_channels < 125))
        if len(rows) < 20:
            return
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        points = tuple((left + x * (right - left), top + y * (bottom - top)) for x, y in LANDMARKS)
        yield Face((left, top, right, bottom), 0.9, points if self.landmarks else None)


def track_frames(frames, cuts=(), detector=None, **options):
    """Track the faces of drawn frames without smoothing."""
    return track_faces(iter(frames), detector or RGBDetector(), cuts, **{"smooth_window_frames": 1, **options})
