"""Blending of a generated face into its frame: the whole box, or softly the lower face in the colors of the frame.

The generator sees the upper half of its crop unmasked, so the upper half of its output is only a blurred copy of the
frame. Its colors also deviate by a few levels, differently in each frame, which makes seams visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.crops import paste, resample, resize
from wav2lip.faces.mouth_patch import DEFAULT_EYE_MOUTH_DISTANCE, DEFAULT_MOUTH
from wav2lip.lipsync.blending.paste_gate import HELD_SHARE, PasteGate

# Masks and color offsets are computed on cells of the box and resized, because they have no detail.
MASK_CELLS = 64  # horizontally and vertically
COLOR_CELLS = 24  # divides every resolution of a generator

MIN_EYE_MOUTH_DISTANCE = 0.15  # plausible landmarks have at least this distance

# Extent of the mask around the center of the mouth, in distances from there to the center of the eyes.
MASK_WIDTH, MASK_UP, MASK_DOWN = 1.05, 0.75, 0.8
OUTLINE_EXPONENT = 3.0  # 2 for an ellipse, larger ones approach a box
FEATHER_WIDTH = 0.35  # share of the radius over which the mask falls from 1 to 0
EDGE_WIDTH = 0.1  # share of the box over which it falls to 0 at its edges and its middle line

MOUTH_RADII = (0.62, 0.5)  # same unit; colors are not compared where lips and jaw move
COLOR_SIGMA_CELLS = 4.0  # blur that extends the color offset into the mouth
OUTLIER_LEVELS = 12.0  # cells that differ by more have little weight, because they show different things
COLOR_MOMENTUM = 0.6  # weight of the previous frame's color offset
SHOT_CHANGE_LEVELS = 24.0  # mean change of the upper face from frame to frame, after which the momentum is reset


class Blend(Protocol):
    """Blend the faces of one request; it may depend on earlier frames."""

    unused: float  # upper share of a generated face that is not used

    def __call__(self, item: FrameItem, target: FaceTarget, crop: np.ndarray, face: np.ndarray) -> None:
        """Blend a generated face into its frame in place.

        crop: (R, R, 3) uint8, the original face. face: (R, R, 3) uint8, the generated one.
        """


def build_blend(name: str, has_gate: bool = False) -> Blend:
    """Build a blend: "feather", with or without `PasteGate`, or "box"."""
    return FeatherBlend(PasteGate() if has_gate else None) if name == "feather" else BoxBlend()


class BoxBlend:
    """Paste the whole box, as upstream does."""

    unused = 0.0

    def __call__(self, item: FrameItem, target: FaceTarget, crop: np.ndarray, face: np.ndarray) -> None:
        """Blend a face, see `Blend`."""
        paste(item.frame, face, target.box)


@dataclass(frozen=True)
class MouthGeometry:
    """Position of the mouth in a box, in heights of the box."""

    mouth: np.ndarray  # (2,) x and y of its center
    down: np.ndarray  # (2,) from the center of the eyes to the center of the mouth
    aspect: float  # width of the box

    @classmethod
    def from_target(cls, target: FaceTarget) -> MouthGeometry:
        """Locate the mouth by the target's landmarks; at its average position without plausible ones."""
        left, top, right, bottom = target.box
        aspect = (right - left) / (bottom - top)
        if target.landmarks is not None:
            points = (np.asarray(target.landmarks, np.float32) - (left, top)) / (bottom - top)
            eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
            if np.hypot(*(mouth - eyes)) > MIN_EYE_MOUTH_DISTANCE and mouth[1] > 0.5:
                return cls(mouth, mouth - eyes, aspect)
        mouth = np.array([DEFAULT_MOUTH[0] * aspect, DEFAULT_MOUTH[1]])
        return cls(mouth, np.array([0.0, DEFAULT_EYE_MOUTH_DISTANCE]), aspect)

    def cell_coordinates(self, cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of cell centers relative to the mouth: along the lips and down the face.

        Returns: twice (cells, cells), in distances from eyes to mouth.
        """
        x = (_centers(cells) * self.aspect - self.mouth[0])[None]
        y = (_centers(cells) - self.mouth[1])[:, None]
        down, squared = self.down, float(self.down @ self.down)
        return (x * down[1] - y * down[0]) / squared, (x * down[0] + y * down[1]) / squared


@dataclass(frozen=True)
class _ColorState:
    """Color offset of a person in the previous frame."""

    index: int  # frame index
    upper_half: np.ndarray  # (cells / 2, cells, 3) float32 levels of the face
    offset: np.ndarray  # (cells, cells, 3) float32 levels added to the generated face

    def is_similar(self, upper_half: np.ndarray) -> bool:
        """Return False if the shot has changed."""
        return bool(np.abs(upper_half - self.upper_half).mean() < SHOT_CHANGE_LEVELS)


class FeatherBlend:
    """Blend the lower face through a soft mask that follows the mouth, in the colors of the frame."""

    unused = 1 / 3  # see `color_offset`

    def __init__(self, gate: PasteGate | None = None) -> None:
        """gate: fades faces out; None: all are pasted."""
        self._states: dict[int, _ColorState] = {}
        self._gate = gate

    def __call__(self, item: FrameItem, target: FaceTarget, crop: np.ndarray, face: np.ndarray) -> None:
        """Blend a face, see `Blend`."""
        left, top, right, bottom = target.box
        width, height = right - left, bottom - top
        geometry = MouthGeometry.from_target(target)
        matched, residual = self._match_colors(item.index, target.person, geometry, crop, face)
        middle = height // 2
        mask = lower_face_mask(geometry, open_edges(target, item.frame.shape))
        share = 1.0 if self._gate is None else self._gate(item.index, target, residual, mask)
        item.is_held_back = item.is_held_back or share < HELD_SHARE
        if share == 0:
            return
        weight = resize(mask if share == 1 else mask * np.float32(share), width, height)[middle:]
        region = item.frame[top + middle : bottom, left:right]
        new = resample(matched, width, height)[middle:]
        region[:] = cv2.blendLinear(np.ascontiguousarray(region), np.ascontiguousarray(new), 1 - weight, weight)

    def _match_colors(
        self, index: int, person: int, geometry: MouthGeometry, crop: np.ndarray, face: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return the generated face in the colors of the frame, and the differences that remain.

        Returns: (R, R, 3) uint8 and (COLOR_CELLS, COLOR_CELLS) float32 absolute levels.
        """
        original, generated = _cell_means(crop), _cell_means(face)
        offset, upper_half = color_offset(original, generated, geometry), original[: COLOR_CELLS // 2]
        last = self._states.get(person)
        if last is not None and index == last.index + 1 and last.is_similar(upper_half):
            offset = COLOR_MOMENTUM * last.offset + (1 - COLOR_MOMENTUM) * offset
        self._states[person] = _ColorState(index, upper_half, offset)
        residual = np.abs(original - generated - offset).mean(axis=2)
        return np.asarray(cv2.add(face, resize(offset, *face.shape[1::-1]), dtype=cv2.CV_8U)), residual


def open_edges(target: FaceTarget, frame_shape: tuple[int, ...]) -> tuple[bool, bool, bool]:
    """Return True for the left, right and lower edges of the frame that the box touches: the mask stays 1 there."""
    left, _, right, bottom = target.box
    return left == 0, right == frame_shape[1], bottom == frame_shape[0]


def lower_face_mask(geometry: MouthGeometry, open_to: tuple[bool, bool, bool] = (False, False, False)) -> np.ndarray:
    """Compute the weight of the generated face over a box.

    open_to: see `open_edges`.
    Returns: (MASK_CELLS, MASK_CELLS) float32 in [0, 1], 0 in the upper half.
    """
    along, below = geometry.cell_coordinates(MASK_CELLS)
    down = np.where(below < 0, below / -MASK_UP, 0 if open_to[2] else below / MASK_DOWN)
    outline = (np.abs(along) / MASK_WIDTH) ** OUTLINE_EXPONENT + down**OUTLINE_EXPONENT
    radius = outline ** (1 / OUTLINE_EXPONENT)  # 0 at the center of the mouth
    u = _centers(MASK_CELLS)
    columns = _rise(np.minimum(u + open_to[0], 1 - u + open_to[1]) / EDGE_WIDTH)
    rows = _rise((u - 0.5) / EDGE_WIDTH) * _rise((1 - u + open_to[2]) / EDGE_WIDTH)
    return (_rise((1 - radius) / FEATHER_WIDTH) * columns[None] * rows[:, None]).astype(np.float32)


def color_offset(original: np.ndarray, generated: np.ndarray, geometry: MouthGeometry) -> np.ndarray:
    """Compute the smooth offset that gives a generated face the colors of the frame.

    Colors are compared in the lower two thirds around the moving mouth; a blur extends the offset into the mouth.

    original, generated: (COLOR_CELLS, COLOR_CELLS, 3) float32 levels.
    Returns: (COLOR_CELLS, COLOR_CELLS, 3) levels to add.
    """
    along, below = geometry.cell_coordinates(COLOR_CELLS)
    difference = original - generated
    weight = _rise((along / MOUTH_RADII[0]) ** 2 + (below / MOUTH_RADII[1]) ** 2 - 0.6)
    weight = weight / (1 + (difference / OUTLIER_LEVELS) ** 2).mean(axis=2)
    weight[: COLOR_CELLS // 3] = 0
    weight = np.maximum(weight, 1e-4)[..., None].astype(np.float32)
    spread = cv2.GaussianBlur(
        np.dstack([weight * difference, weight]), (0, 0), COLOR_SIGMA_CELLS, borderType=cv2.BORDER_REFLECT
    )
    return spread[..., :3] / spread[..., 3:]


def _cell_means(face: np.ndarray) -> np.ndarray:
    """Return means over the cells of a face, float32 levels."""
    return cv2.resize(face, (COLOR_CELLS, COLOR_CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)


def _centers(cells: int) -> np.ndarray:
    return (np.arange(cells) + 0.5) / cells


def _rise(x: np.ndarray) -> np.ndarray:
    """Smoothstep from 0 at 0 to 1 at 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
