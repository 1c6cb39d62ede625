"""Head roll alignment: rotate a tilted face upright for the generator, and add the result back to the frame.

The networks were trained on mostly upright faces. A tilted face is rotated about the center of its box until its eyes
are level. Only the difference is rotated back, so that the rest of the frame is not resampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from wav2lip.engine.interface import FaceTarget, FrameItem

MIN_EYE_DISTANCE = 0.15  # widths of the box: below it the roll angle is unreliable


@dataclass(frozen=True)
class AlignedFace:
    """A face in its frame, or in an upright image of a part of the frame."""

    item: FrameItem
    target: FaceTarget
    paste_back: Callable[[], None]  # applies changes of `item.frame` to the original frame


Align = Callable[[FrameItem, FaceTarget], AlignedFace]


def keep_roll(item: FrameItem, target: FaceTarget) -> AlignedFace:
    """Return the face in its frame, without rotation."""
    return AlignedFace(item, target, lambda: None)


def align_roll(item: FrameItem, target: FaceTarget) -> AlignedFace:
    """Return the face rotated upright in a separate image; without landmarks, in its frame."""
    angle = roll_angle(target)
    if not angle:
        return keep_roll(item, target)
    left, top, right, bottom = target.box
    width, height = right - left, bottom - top
    side = math.ceil(math.hypot(width, height)) + 2  # contains the box at any angle
    x, y = (left + right - 1) / 2, (top + bottom - 1) / 2  # the center, in coordinates of pixel centers
    matrix: np.ndarray = np.array(cv2.getRotationMatrix2D((x, y), math.degrees(angle), 1.0))  # frame to image
    matrix[:, 2] += (side - 1) / 2 - np.array([x, y])
    before = cv2.warpAffine(item.frame, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    upright = replace(item, frame=before.copy())
    corner = (side - width) // 2, (side - height) // 2
    box = (corner[0], corner[1], corner[0] + width, corner[1] + height)
    landmarks = np.asarray(target.landmarks, np.float64) @ matrix[:, :2].T + matrix[:, 2]

    def paste_back() -> None:
        difference = upright.frame.astype(np.float32) - before
        _add_rotated(item.frame, difference, matrix, round(x - side / 2), round(y - side / 2))

    return AlignedFace(upright, replace(target, box=box, landmarks=landmarks.astype(np.float32)), paste_back)


def roll_angle(target: FaceTarget) -> float:
    """Return the angle of the line through the eyes in radians, clockwise; 0 if it is unknown."""
    if target.landmarks is None:
        return 0.0
    dx, dy = (np.asarray(target.landmarks[1]) - np.asarray(target.landmarks[0])).tolist()
    left, _, right, _ = target.box
    return math.atan2(dy, dx) if math.hypot(dx, dy) > MIN_EYE_DISTANCE * (right - left) else 0.0


def _add_rotated(frame: np.ndarray, difference: np.ndarray, matrix: np.ndarray, left: int, top: int) -> None:
    """Rotate a difference image back and add it to the frame in place.

    difference: (S, S, 3) float32. matrix: (2, 3) from the frame to the difference image. left, top: corner of
    the S x S square of the frame that it can cover.
    """
    side = len(difference)
    rows = slice(max(0, top), min(frame.shape[0], top + side))
    columns = slice(max(0, left), min(frame.shape[1], left + side))
    roi = frame[rows, columns]
    roi_matrix = matrix.copy()
    roi_matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP  # the matrix maps the result to the source
    rotated = cv2.warpAffine(difference, roi_matrix, roi.shape[1::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT)
    roi[:] = np.clip(np.rint(roi + rotated), 0, 255).astype(np.uint8)
