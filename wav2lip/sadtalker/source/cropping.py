"""Crop of a face from a photo: an axis-aligned square around eyes and mouth, as in FFHQ (Karras et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.faces.boxes import Box
from wav2lip.faces.crops import crop_box, resize
from wav2lip.sadtalker.source.landmarks import eye_centers, mouth_corners

MODES = ("crop", "extcrop", "resize", "full", "extfull")
PASTED_MODES = ("full", "extfull")  # the animated region is blended back into the photo
OUTER_MODES = ("extcrop", "extfull")  # the region is the face with a border
MAX_FACE_PIXELS = 512  # side of the face square beyond which the photo is downscaled by whole factors
BORDER_SHARE = 0.1  # share of the side of the face square
MIN_BORDER_PIXELS = 3


@dataclass(frozen=True)
class FaceSquare:
    """Face square and the box around it, in pixels of a photo that is downscaled for large faces."""

    photo_size: tuple[int, int]  # width, height of the downscaled photo
    shrink: int  # factor of the downscaling, 1 for none
    outer: Box  # the face square with a border, inside the photo
    square: tuple[float, float, float, float]  # left, top, right, bottom, relative to `outer`
    side: float  # pixels: of the square before it is cut by the edges of the photo

    @property
    def inner(self) -> Box:
        """Face square in whole pixels of the photo."""
        left, top = self.outer[:2]
        x0, y0, x1, y1 = (int(side) for side in self.square)
        return left + x0, top + y0, left + x1, top + y1


def locate_face_square(landmarks: np.ndarray, width: int, height: int, compat: str = "none") -> FaceSquare:
    """Compute the face square of a photo.

    landmarks: (68, 2) or (5, 2) x and y in pixels, y down.
    compat: "public" downscales photos with large faces and limits the bottom of the square by the width of the photo,
        as the reference does; otherwise the square is limited by the box around it.
    """
    center, x = _face_axis(landmarks)
    y = np.array([-x[1], x[0]])
    corners = np.array([center - x - y, center - x + y, center + x + y, center + x - y])
    side = 2 * float(np.hypot(*x))
    shrink = max(1, int(np.floor(side / MAX_FACE_PIXELS * 0.5))) if compat == "public" else 1
    if shrink > 1:
        width, height = int(np.rint(width / shrink)), int(np.rint(height / shrink))
        corners, side = corners / shrink, side / shrink
    border = max(int(np.rint(BORDER_SHARE * side)), MIN_BORDER_PIXELS)
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    left, top = max(int(low[0]) - border, 0), max(int(low[1]) - border, 0)
    right, bottom = min(int(high[0]) + border, width), min(int(high[1]) + border, height)
    if right - left < width or bottom - top < height:
        corners = corners - (left, top)
    limits = (width, width) if compat == "public" else (right - left, bottom - top)
    return FaceSquare((width, height), shrink, (left, top, right, bottom), _limit_square(corners + 0.5, limits), side)


def _face_axis(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the center of the face square and half of its upper side, both (2,) float64 pixels."""
    left_eye, right_eye = eye_centers(landmarks)
    mouth = mouth_corners(landmarks).mean(axis=0)
    eyes = ((left_eye + right_eye) * 0.5).astype(np.float64)
    eye_to_eye = (right_eye - left_eye).astype(np.float64)
    eye_to_mouth = mouth.astype(np.float64) - eyes
    x = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    length = max(2 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth))
    return eyes + 0.1 * eye_to_mouth, x / max(np.hypot(*x), 1e-9) * length


def _limit_square(corners: np.ndarray, limits: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of corners (4, 2), in the order of `locate_face_square`, within limits."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners.tolist()
    return max(min(x0, x1), 0), max(min(y0, y3), 0), min(max(x2, x3), limits[0]), min(max(y1, y2), limits[1])


@dataclass(frozen=True)
class Region:
    """Part of a photo that the networks see as a square image."""

    box: Box  # pixels of the photo; may exceed it, where its edge is repeated
    aspect_size: tuple[int, int]  # width and height that set the aspect ratio of a result that is not pasted back

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        left, top, right, bottom = self.box
        return right - left, bottom - top

    def cut(self, photo: np.ndarray, side: int) -> np.ndarray:
        """Return the region of a photo (H, W, 3) uint8 as (side, side, 3)."""
        height, width = photo.shape[:2]
        left, top, right, bottom = self.box
        inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        image = crop_box(photo, inside)
        if inside != self.box:
            margins = inside[1] - top, bottom - inside[3], inside[0] - left, right - inside[2]
            image = cv2.copyMakeBorder(image, *margins, cv2.BORDER_REPLICATE)
        shrink = min(image.shape[:2]) // (4 * side)  # bilinear resizing of much larger images aliases
        if shrink > 1:
            small = image.shape[1] // shrink, image.shape[0] // shrink
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return resize(image, side, side)

    def to_region(self, points: np.ndarray, side: int) -> np.ndarray:
        """Convert points (N, 2) of the photo to pixels of `cut`."""
        return (points - np.array(self.box[:2])) * (np.array([side, side]) / self.size)

    def to_photo(self, points: np.ndarray, side: int) -> np.ndarray:
        """Invert `to_region`."""
        return points * (np.array(self.size) / side) + np.array(self.box[:2])


def choose_region(
    mode: str, photo: np.ndarray, landmarks: np.ndarray, compat: str = "none"
) -> tuple[np.ndarray, Region]:
    """Return the photo and the region of a crop mode.

    mode: see MODES. photo: (H, W, 3) uint8. landmarks: see `locate_face_square`.
    compat: see `locate_face_square`; besides, "public" squashes the photo to a square in the mode "resize" and uses
        the aspect ratio of the face square in the outer modes.
    Returns: the photo, downscaled if the face square requires it, and the region in its pixels.
    """
    height, width = photo.shape[:2]
    if mode == "resize":
        return photo, _whole_photo(width, height, compat)
    face = locate_face_square(landmarks, width, height, compat)
    if face.shrink > 1:
        photo = cv2.resize(photo, face.photo_size, interpolation=cv2.INTER_AREA)
    left, top, right, bottom = face.inner
    inner = left, top, min(right, face.outer[2]), min(bottom, face.outer[3])  # the part of the photo that exists
    box = face.outer if mode in OUTER_MODES else inner
    aspect_box = face.inner if compat == "public" else box
    return photo, Region(box, (aspect_box[2] - aspect_box[0], aspect_box[3] - aspect_box[1]))


def _whole_photo(width: int, height: int, compat: str) -> Region:
    """Return the whole photo as it is, to be squashed, or the centered square around it."""
    if compat == "public":
        return Region((0, 0, width, height), (width, height))
    side = max(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Region((left, top, left + side, top + side), (width, height))
