"""Face boxes: padding and rounding. A box is left, top, right, bottom in pixels of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels, right and bottom exclusive


@dataclass(frozen=True)
class Pads:
    """Pixels added to each side of a detected face box; upstream's inference adds 10 below to include the chin."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def pad_boxes(boxes: np.ndarray, pads: Pads, height: int, width: int) -> np.ndarray:
    """Expand boxes, clipped to the frame.

    boxes: (N, 4); rows of NaN (no face) stay NaN.
    Returns: (N, 4) of the same dtype.
    """
    padded = boxes + np.array([-pads.left, -pads.top, pads.right, pads.bottom], boxes.dtype)
    low = np.array([0, 0, -np.inf, -np.inf])
    high = np.array([np.inf, np.inf, width, height])
    return np.clip(padded, low, high).astype(boxes.dtype)


def round_boxes(boxes: np.ndarray, height: int, width: int) -> list[Box | None]:
    """Round boxes (N, 4) to whole pixels, clipped to the frame; None for rows of NaN and for empty boxes."""
    rounded: list[Box | None] = []
    for row in boxes:
        if np.isnan(row).any():
            rounded.append(None)
            continue
        left, top, right, bottom = (int(v) for v in np.rint(row))
        left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
        rounded.append((left, top, right, bottom) if left < right and top < bottom else None)
    return rounded


def move_box(box: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Return the box around the ellipse in a box, moved by an affine transform: detectors box a tilted face so.

    The box around the corners would grow by a fifth of its width with a tilt of ten degrees, a detected one does not.
    box: (4,) pixels. transform: (2, 3), for (x, y, 1). Returns: (4,) float64.
    """
    low, high = np.asarray(box, np.float64).reshape(2, 2)
    center = transform[:, :2] @ ((low + high) / 2) + transform[:, 2]
    radii = np.linalg.norm(transform[:, :2] * ((high - low) / 2), axis=1)
    return np.concatenate([center - radii, center + radii])
