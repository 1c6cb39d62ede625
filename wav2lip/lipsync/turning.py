"""Tilted heads, held upright while their lips are painted.

The networks learned from faces that are mostly upright. A tilted one is turned about the middle of its box until its
eyes are level; what is turned back is the change alone, so that all else in the frame stays as sharp as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from wav2lip.lipsync.shown import Shown, Target

NEAREST_EYES = 0.15  # widths of the box: eyes that are nearer to each other tell no direction


@dataclass(frozen=True)
class View:
    """Where a face is painted: in its frame, or in a picture of a part of it."""

    shown: Shown
    target: Target
    put_back: Callable[[], None]  # takes what was painted into the frame


ViewOf = Callable[[Shown, Target], View]


def as_it_is(shown: Shown, target: Target) -> View:
    """The face in its frame."""
    return View(shown, target, lambda: None)


def upright(shown: Shown, target: Target) -> View:
    """The face with level eyes, in a picture of its own; as it is, where its landmarks are not known."""
    angle = tilt(target)
    if not angle:
        return as_it_is(shown, target)
    left, top, right, bottom = target.box
    width, height = right - left, bottom - top
    side = math.ceil(math.hypot(width, height)) + 2  # holds the box at any angle
    x, y = (left + right - 1) / 2, (top + bottom - 1) / 2  # the middle, between the centres of the outermost pixels
    to_picture: np.ndarray = np.array(cv2.getRotationMatrix2D((x, y), math.degrees(angle), 1.0))
    to_picture[:, 2] += (side - 1) / 2 - np.array([x, y])
    before = cv2.warpAffine(shown.frame, to_picture, (side, side), borderMode=cv2.BORDER_REPLICATE)
    picture = replace(shown, frame=before.copy())
    corner = (side - width) // 2, (side - height) // 2
    box = (corner[0], corner[1], corner[0] + width, corner[1] + height)
    landmarks = np.asarray(target.landmarks, np.float64) @ to_picture[:, :2].T + to_picture[:, 2]

    def put_back() -> None:
        change = picture.frame.astype(np.float32) - before
        _add(shown.frame, change, to_picture, round(x - side / 2), round(y - side / 2))

    return View(picture, replace(target, box=box, landmarks=landmarks.astype(np.float32)), put_back)


def tilt(target: Target) -> float:
    """Radians by which the line through the eyes falls to the right; 0 if that is not known."""
    if target.landmarks is None:
        return 0.0
    across, down = (np.asarray(target.landmarks[1]) - np.asarray(target.landmarks[0])).tolist()
    left, _, right, _ = target.box
    return math.atan2(down, across) if math.hypot(across, down) > NEAREST_EYES * (right - left) else 0.0


def _add(frame: np.ndarray, change: np.ndarray, to_picture: np.ndarray, left: int, top: int) -> None:
    """Add a turned picture's change to the frame, where the picture was taken from.

    change: (S, S, 3) float32 levels. to_picture: (2, 3), from the frame's pixels to its. left, top: of the square of
    the frame in which it can lie.
    """
    side = len(change)
    rows = slice(max(0, top), min(frame.shape[0], top + side))
    columns = slice(max(0, left), min(frame.shape[1], left + side))
    region = frame[rows, columns]
    from_region = to_picture.copy()
    from_region[:, 2] += to_picture[:, :2] @ (columns.start, rows.start)
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # With this flag the matrix says where in the picture each pixel of the region is; beyond it nothing changed.
    turned = cv2.warpAffine(change, from_region, region.shape[1::-1], flags=way, borderMode=cv2.BORDER_CONSTANT)
    region[:] = np.clip(np.rint(region + turned), 0, 255).astype(np.uint8)
