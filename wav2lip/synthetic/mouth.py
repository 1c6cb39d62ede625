"""Painting of lips, teeth and tongue for one articulation.

Lengths are in portrait pixels (the face is 95 wide); the origin is the middle of the mouth, y points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.synthetic.voice import OPENING, TEETH, TONGUE, WIDTH

MAX_GAP = 17.0  # distance of the inner lips at full opening
UPPER_LIP_SHARE = 0.18  # fraction of the gap that comes from raising the upper lip
MAX_TEETH_HEIGHT = 5.0  # visible part of the upper teeth
SUBPIXEL_BITS = 4  # fractional bits of OpenCV polygon corners

# RGB values before the appearance's gamma and warmth are applied.
PALETTE = {
    "upper": (168, 98, 92),
    "lower": (192, 118, 112),
    "shine": (226, 170, 162),
    "seam": (92, 42, 40),
    "throat": (44, 12, 14),
    "teeth": (232, 224, 212),
    "tongue": (170, 82, 82),
    "shade": (150, 104, 84),
}


@dataclass(frozen=True)
class Lips:
    """Lip contours: four curves of shape (P, 2) from the left corner of the mouth to the right one."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    half_width: float
    lower_thickness: float


def shape_lips(opening: float, width: float) -> Lips:
    """Return the contours for an opening and a width, both in [0, 1]."""
    rounded, spread = max(0.0, 1 - 2 * width), max(0.0, 2 * width - 1)
    half_width = 17.5 - 7.5 * rounded + 5.5 * spread - 1.5 * opening
    upper_thickness = 3.8 + 1.4 * rounded - 0.8 * spread
    lower_thickness = 5.2 + 1.6 * rounded - 1.0 * spread - 0.8 * opening

    position = np.linspace(-1, 1, 41)
    inside = 1 - position**2
    gap = MAX_GAP * opening * inside ** (0.75 - 0.25 * rounded)
    corners = 0.6 - 1.4 * spread * position**2  # spreading lifts the corners
    bow = 1 - 0.28 * np.exp(-((position / 0.16) ** 2))  # cupid's bow
    edge = inside**0.6

    x = half_width * position
    inner_upper = corners - UPPER_LIP_SHARE * gap
    inner_lower = corners + (1 - UPPER_LIP_SHARE) * gap
    return Lips(
        outer_upper=np.stack([x, inner_upper - upper_thickness * edge * bow], axis=1),
        inner_upper=np.stack([x, inner_upper], axis=1),
        inner_lower=np.stack([x, inner_lower], axis=1),
        outer_lower=np.stack([x, inner_lower + lower_thickness * edge], axis=1),
        half_width=half_width,
        lower_thickness=lower_thickness,
    )


def paint_mouth(
    skin: np.ndarray, center: tuple[float, float], scale: float, mouth: np.ndarray, palette: dict[str, np.ndarray]
) -> None:
    """Paint a mouth on skin, in place.

    skin: (H, W, 3) uint8 RGB, at least 60 x 60 portrait pixels around the mouth. center: x, y of the mouth in `skin`.
    scale: pixels of skin per portrait pixel. mouth: (4,), one row of an articulation. palette: as PALETTE, (3,) each.
    """
    lips = shape_lips(float(mouth[OPENING]), float(mouth[WIDTH]))
    canvas = skin.astype(np.float32)

    def mask(outline: np.ndarray, blur: float) -> np.ndarray:
        """Rasterize a closed outline (P, 2) to coverage in [0, 1], (H, W, 1)."""
        corners = np.round((outline * scale + center) * 2**SUBPIXEL_BITS).astype(np.int32)
        coverage = np.zeros(skin.shape[:2], np.uint8)
        cv2.fillPoly(coverage, [corners], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        return cv2.GaussianBlur(coverage, (0, 0), blur * scale)[..., None] * np.float32(1 / 255)

    def blend(coverage: np.ndarray, color: str, strength: float = 1.0) -> None:
        canvas[:] += coverage * np.float32(strength) * (palette[color] - canvas)

    bottom = lips.outer_lower[len(lips.outer_lower) // 2]
    middle = lips.inner_lower[len(lips.inner_lower) // 2]
    blend(mask(_ellipse(_shift_down(bottom, 1.5), 0.55 * lips.half_width, 1.8), 1.0), "shade", 0.5)
    blend(mask(_closed_outline(lips.outer_upper, lips.inner_upper), 0.45), "upper", 0.92)
    blend(mask(_closed_outline(lips.inner_lower, lips.outer_lower), 0.45), "lower", 0.92)
    highlight = _shift_down(middle, 0.55 * lips.lower_thickness)
    blend(mask(_ellipse(highlight, 0.45 * lips.half_width, 0.9), 0.6), "shine", 0.5)
    seam = _closed_outline(_shift_down(lips.inner_upper, -0.45), _shift_down(lips.inner_lower, 0.45))
    blend(mask(seam, 0.3), "seam", 0.85)
    if mouth[OPENING] > 0:
        opening = mask(_closed_outline(lips.inner_upper, lips.inner_lower), 0.25)
        blend(opening, "throat")
        gap = MAX_GAP * float(mouth[OPENING])
        tongue_height = gap * (0.1 + 0.7 * float(mouth[TONGUE]))
        blend(opening * mask(_ellipse(middle, 0.65 * lips.half_width, tongue_height), 0.4), "tongue", 0.9)
        gums = lips.inner_upper[4:-4]  # teeth do not reach the corners
        teeth = _closed_outline(_shift_down(gums, -1.0), _shift_down(gums, MAX_TEETH_HEIGHT * float(mouth[TEETH])))
        blend(opening * mask(teeth, 0.3), "teeth", 0.95)
    skin[:] = canvas.clip(0, 255).astype(np.uint8)


def _shift_down(points: np.ndarray, distance: float) -> np.ndarray:
    """Translate a point (2,) or curve (P, 2)."""
    return points + np.array([0.0, distance])


def _closed_outline(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Join two curves with common ends into a closed outline."""
    return np.concatenate([upper, lower[::-1]])


def _ellipse(center: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return center + np.stack([half_width * np.cos(angle), half_height * np.sin(angle)], axis=1)
