"""Parts of a frame as the pictures that a detector is given, and the faces found there back in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from face_detection.interface import Face

CANVAS = 144  # pixels: about the side of the square picture that every region becomes; regions make batches so
MARGIN = 1.8  # side of a region, in heights of the face it is meant for, which is so 80 pixels high on the canvas
STEP = 1.1  # ratio of neighbouring scales: a picture's scale does not change with every pixel of the box
SMALLEST = 4.0  # pixels: a smaller face is looked for as one of this size
OFF = 0.22  # of the side: a face whose own region lies further away may be cut off in this one
ODD = 1.6  # times as large or small a face is no longer near the working size


@dataclass(frozen=True)
class Region:
    """A square part of a frame."""

    left: int
    top: int
    side: int  # pixels of the frame
    canvas: int  # pixels: side of the picture

    @classmethod
    def around(cls, box: np.ndarray, height: int, width: int, finer: bool = False) -> Region:
        """Where to look for a face.

        The region stays within the frame, and is smaller where it must be: made-up pixels beyond the edges would
        change the boxes, by a tenth of their size with Haar.

        box: (4,) left, top, right, bottom: about where the face is. height, width: of the frame.
        finer: half a step of scale. A detector that knows only certain sizes errs the other way then.
        """
        wanted = max(SMALLEST, float((box[2:] - box[:2]).max())) * MARGIN
        side = min(round(CANVAS * STEP ** _steps(wanted)), height, width)
        canvas = round(side / STEP ** (_steps(side) - 0.5 * finer))
        x, y = (box[:2] + box[2:] - side) / 2
        return cls(min(max(0, round(x)), width - side), min(max(0, round(y)), height - side), side, canvas)

    def near(self, other: Region, off: float = OFF) -> bool:
        """Whether a face for which the other region is meant would be whole in this one, near the working size.

        off: in sides of this region, how far from its middle the other's may be.
        """
        x, y = (2 * (a - b) + self.side - other.side for a, b in ((self.left, other.left), (self.top, other.top)))
        return max(abs(x), abs(y)) / 2 <= off * self.side and 1 / ODD <= other.side / self.side <= ODD

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """The region as a picture (canvas, canvas, 3) uint8."""
        inside = frame[self.top : self.top + self.side, self.left : self.left + self.side]
        way = cv2.INTER_AREA if self.side > self.canvas else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(inside, (self.canvas, self.canvas), interpolation=way))

    def faces(self, found: Sequence[Face], height: int, width: int) -> list[Face]:
        """Faces of the picture in pixels of the frame; none that may be cut off, for that is another region's."""
        moved = [_moved(face, self.side / self.canvas, self.left, self.top) for face in found]
        return [face for face in moved if self.near(Region.around(np.array(face.box), height, width))]


def _steps(side: float) -> int:
    """Steps of scale from a picture of `CANVAS` pixels to a region of this side."""
    return round(math.log(side / CANVAS, STEP))


def scaled(found: Sequence[Face], scale: float) -> list[Face]:
    """Faces of a shrunk picture in pixels of the original, of which one of its pixels is `scale`."""
    return [_moved(face, scale, 0, 0) for face in found]


def _moved(face: Face, scale: float, left: float, top: float) -> Face:
    """A face of a part of a frame in pixels of the frame; the part begins at left, top."""
    x0, y0, x1, y1 = face.box
    box = (max(0.0, x0 * scale + left), max(0.0, y0 * scale + top), x1 * scale + left, y1 * scale + top)
    points = face.landmarks and tuple((x * scale + left, y * scale + top) for x, y in face.landmarks)
    return replace(face, box=box, landmarks=points)
