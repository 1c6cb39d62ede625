"""Composition of a result frame: the animated region alone, or blended back into the photo.

S: pixels of the renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.boxes import round_boxes
from wav2lip.faces.crops import crop_box, resample, resize
from wav2lip.sadtalker.source.cropping import PASTED_MODES, Region

# Masks and colors have no detail, so they are computed on cells.
MASK_CELLS = 64
COLOR_CELLS = 24
FEATHER_SHARE = 0.14  # share of the region over which the mask rises from 0 at its edges to 1
RING_SHARE = 0.25  # share of the region in which colors are compared: along its edges, outside of the moving face
COLOR_SIGMA_CELLS = 4.0  # blur that extends the color offset into the face
OUTLIER_LEVELS = 12.0  # cells that differ by more have little weight, because they show different things
COLOR_MOMENTUM = 0.8  # weight of the previous frame's color offset


class Composition(Protocol):
    """Build result frames from rendered ones."""

    def __call__(self, item: FrameItem) -> None:
        """Replace the frame (S, S, 3) uint8 RGB of an item by the result frame, and convert its targets."""


def build_composition(mode: str, photo: np.ndarray, region: Region, side: int, compat: str = "none") -> Composition:
    """Build the composition of a crop mode, see `wav2lip.sadtalker.source.cropping.MODES`. side: S."""
    if mode not in PASTED_MODES:
        return Cropped(photo.shape, region, side)
    if compat == "public":
        return PoissonPaste(photo, region, side)
    return SoftPaste(photo, region, side)


class Cropped:
    """Return the region, S pixels wide, in its aspect ratio."""

    def __init__(self, photo_shape: tuple[int, ...], region: Region, side: int):
        (left, top), (width, height) = region.box[:2], region.size
        inside = np.clip(region.box, 0, [photo_shape[1], photo_shape[0]] * 2) - [left, top, left, top]
        self.part = np.rint(inside * (np.array([side / width, side / height] * 2))).astype(int)
        aspect_width, aspect_height = region.aspect_size
        self.size = side, max(2, int(side * aspect_height / aspect_width))

    def __call__(self, item: FrameItem) -> None:
        """See `Composition`."""
        left, top, right, bottom = self.part.tolist()
        item.frame = resize(item.frame[top:bottom, left:right], *self.size)
        scale = np.array(self.size) / (right - left, bottom - top)
        item.targets = move_targets(item.targets, np.array([left, top]), scale, item.frame.shape)


class SoftPaste:
    """Blend the region into the photo through a soft mask, in the colors of the photo."""

    def __init__(self, photo: np.ndarray, region: Region, side: int):
        self.photo, self.region, self.side = photo, region, side
        original = crop_box(photo, region.box)
        self.original = np.ascontiguousarray(original)
        open_edges = _open_edges(region, photo.shape)
        self.weight = resize(edge_mask(MASK_CELLS, FEATHER_SHARE, open_edges), *region.size)
        self.photo_weight = 1 - self.weight
        self.ring = np.maximum(1 - edge_mask(COLOR_CELLS, RING_SHARE, open_edges), 1e-3)
        self.cells = _cell_means(original)
        self._offset: np.ndarray | None = None

    def __call__(self, item: FrameItem) -> None:
        """See `Composition`."""
        matched = np.asarray(cv2.add(item.frame, resize(self._color_offset(item.frame), self.side, self.side),
                                     dtype=cv2.CV_8U))  # fmt: skip
        face = resample(matched, *self.region.size)
        left, top, right, bottom = self.region.box
        item.frame = self.photo.copy()
        item.frame[top:bottom, left:right] = cv2.blendLinear(face, self.original, self.weight, self.photo_weight)
        item.targets = targets_in_photo(item.targets, self.region, self.side, item.frame.shape)

    def _color_offset(self, frame: np.ndarray) -> np.ndarray:
        """Return levels to add (COLOR_CELLS, COLOR_CELLS, 3) float32, smooth in space and time."""
        difference = self.cells - _cell_means(frame)
        weight = (self.ring / (1 + (difference / OUTLIER_LEVELS) ** 2).mean(axis=2))[..., None].astype(np.float32)
        spread = cv2.GaussianBlur(
            np.dstack([weight * difference, weight]), (0, 0), COLOR_SIGMA_CELLS, borderType=cv2.BORDER_REFLECT
        )
        offset = spread[..., :3] / spread[..., 3:]
        if self._offset is not None:
            offset = COLOR_MOMENTUM * self._offset + (1 - COLOR_MOMENTUM) * offset
        self._offset = offset
        return offset


class PoissonPaste:
    """Clone the region into the photo by Poisson blending (Perez et al. 2003), as the reference does; slow."""

    def __init__(self, photo: np.ndarray, region: Region, side: int):
        self.photo, self.region, self.side = photo, region, side
        left, top, right, bottom = region.box
        self.center = (left + right) // 2, (top + bottom) // 2
        self.mask = np.full((bottom - top, right - left), 255, np.uint8)

    def __call__(self, item: FrameItem) -> None:
        """See `Composition`."""
        face = resize(item.frame, *self.region.size)
        item.frame = cv2.seamlessClone(face, self.photo, self.mask, self.center, cv2.NORMAL_CLONE)
        item.targets = targets_in_photo(item.targets, self.region, self.side, item.frame.shape)


def edge_mask(cells: int, share: float, open_edges: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """Return weights (cells, cells) float32 that rise smoothly from 0 at the edges to 1 over a share of the side.

    open_edges: left, top, right, bottom: edges at which the weight stays 1.
    """
    position = (np.arange(cells) + 0.5) / cells
    left, top, right, bottom = open_edges
    columns = np.minimum(position + left, 1 - position + right) / share
    rows = np.minimum(position + top, 1 - position + bottom) / share
    ramps = [np.clip(ramp, 0, 1) for ramp in (rows, columns)]
    return np.outer(*(ramp * ramp * (3 - 2 * ramp) for ramp in ramps)).astype(np.float32)


def _open_edges(region: Region, photo_shape: tuple[int, ...]) -> tuple[bool, bool, bool, bool]:
    """Return True for the edges of the photo that the region touches."""
    left, top, right, bottom = region.box
    return left <= 0, top <= 0, right >= photo_shape[1], bottom >= photo_shape[0]


def _cell_means(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (COLOR_CELLS, COLOR_CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)


def targets_in_photo(
    targets: Sequence[FaceTarget], region: Region, side: int, shape: tuple[int, ...]
) -> list[FaceTarget]:
    """Convert targets from a rendered frame to the photo of a shape."""
    scale = np.array(region.size) / side
    return move_targets(targets, -np.array(region.box[:2]) / scale, scale, shape)


def move_targets(
    targets: Sequence[FaceTarget], origin: np.ndarray, scale: np.ndarray, shape: tuple[int, ...]
) -> list[FaceTarget]:
    """Subtract an origin (2,) from targets and multiply them by a scale (2,); drop those outside of a frame's shape."""
    moved = []
    for target in targets:
        corners = (np.array(target.box, np.float64).reshape(2, 2) - origin) * scale
        (box,) = round_boxes(corners.reshape(1, 4), *shape[:2])
        if box is not None:
            points = None if target.landmarks is None else ((target.landmarks - origin) * scale).astype(np.float32)
            moved.append(FaceTarget(box, points, target.person))
    return moved
