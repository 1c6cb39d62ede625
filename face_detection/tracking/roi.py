"""Regions of interest: square parts of a frame in which a detector looks for one face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from face_detection.interface import Face

CANVAS_SIZE = 144  # pixels: approximate side of the image that every region is resized to, so that regions form batches
ROI_SCALE = 1.8  # side of a region, in heights of its face, which is thus 80 pixels high on the canvas
SCALE_STEP = 1.1  # ratio of neighboring scales: the scale does not change with every pixel of the box
MIN_FACE_PIXELS = 4.0  # smaller faces get a region of this size
MAX_SHIFT = 0.22  # sides of a region; a face whose own region is further away may be cut off in this one
MAX_SIZE_RATIO = 1.6  # a face larger or smaller by this factor is not near the working size


@dataclass(frozen=True)
class DetectionROI:
    """A square part of a frame."""

    left: int
    top: int
    side: int  # pixels of the frame
    canvas: int  # pixels: side of the resized image

    @classmethod
    def around(cls, box: np.ndarray, height: int, width: int, finer: bool = False) -> DetectionROI:
        """Build the region in which to look for a face.

        The region stays inside the frame and is smaller where necessary: padding would change the boxes, by a tenth of
        their size with Haar.

        box: (4,) left, top, right, bottom, the expected position of the face. height, width: of the frame.
        finer: scale by half a step more, which cancels the error of detectors that only search discrete sizes.
        """
        ideal = max(MIN_FACE_PIXELS, float((box[2:] - box[:2]).max())) * ROI_SCALE
        side = min(round(CANVAS_SIZE * SCALE_STEP ** _scale_steps(ideal)), height, width)
        canvas = round(side / SCALE_STEP ** (_scale_steps(side) - 0.5 * finer))
        x, y = (box[:2] + box[2:] - side) / 2
        return cls(min(max(0, round(x)), width - side), min(max(0, round(y)), height - side), side, canvas)

    def covers(self, other: DetectionROI, max_shift: float = MAX_SHIFT) -> bool:
        """Return True if the face of the other region is complete in this one, near the working size.

        max_shift: between the centers of the regions, in sides of this one.
        """
        x, y = (2 * (a - b) + self.side - other.side for a, b in ((self.left, other.left), (self.top, other.top)))
        size_ratio = other.side / self.side
        return max(abs(x), abs(y)) / 2 <= max_shift * self.side and 1 / MAX_SIZE_RATIO <= size_ratio <= MAX_SIZE_RATIO

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """Crop and resize the region: (canvas, canvas, 3) uint8."""
        inside = frame[self.top : self.top + self.side, self.left : self.left + self.side]
        interpolation = cv2.INTER_AREA if self.side > self.canvas else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(inside, (self.canvas, self.canvas), interpolation=interpolation))

    def to_frame(self, faces: Sequence[Face], height: int, width: int) -> list[Face]:
        """Map faces of the crop to the frame, without those that may be cut off and belong to another region."""
        mapped = [_to_frame(face, self.side / self.canvas, self.left, self.top) for face in faces]
        return [face for face in mapped if self.covers(DetectionROI.around(np.array(face.box), height, width))]


def rescale_faces(faces: Sequence[Face], scale: float) -> list[Face]:
    """Map faces of a downscaled image to the original; scale: original pixels per pixel."""
    return [_to_frame(face, scale, 0, 0) for face in faces]


def _scale_steps(side: float) -> int:
    """Return the number of scale steps from the canvas to a region of this side."""
    return round(math.log(side / CANVAS_SIZE, SCALE_STEP))


def _to_frame(face: Face, scale: float, left: float, top: float) -> Face:
    """Map a face of a region that starts at left, top to the frame."""
    x0, y0, x1, y1 = face.box
    box = (max(0.0, x0 * scale + left), max(0.0, y0 * scale + top), x1 * scale + left, y1 * scale + top)
    landmarks = face.landmarks and tuple((x * scale + left, y * scale + top) for x, y in face.landmarks)
    return replace(face, box=box, landmarks=landmarks)
