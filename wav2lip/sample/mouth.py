"""A painted mouth: lips, teeth and tongue for one articulation.

Lengths are in pixels of the portrait (its face is 95 wide), from the middle of the mouth, y downwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.sample.speech import OPENING, TEETH, TONGUE, WIDTH

GAP = 17.0  # between the lips at full opening
UPPER_SHARE = 0.18  # of the gap comes from raising the upper lip
TOOTH = 5.0  # visible height of the upper teeth at most
SUBPIXEL = 4  # bits behind the point in OpenCV's polygon corners

# RGB, before the speaker's light falls on them.
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
    """Four curves from the left corner of the mouth to the right one, each (P, 2)."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    half_width: float
    lower_thickness: float


def shape_lips(opening: float, width: float) -> Lips:
    """Curves of lips that are open and wide by so much, both in [0, 1]."""
    rounded, spread = max(0.0, 1 - 2 * width), max(0.0, 2 * width - 1)
    half_width = 17.5 - 7.5 * rounded + 5.5 * spread - 1.5 * opening
    upper_thickness = 3.8 + 1.4 * rounded - 0.8 * spread
    lower_thickness = 5.2 + 1.6 * rounded - 1.0 * spread - 0.8 * opening

    along = np.linspace(-1, 1, 41)
    inside = 1 - along**2
    opened = GAP * opening * inside ** (0.75 - 0.25 * rounded)
    corners = 0.6 - 1.4 * spread * along**2  # a smile lifts them
    bow = 1 - 0.28 * np.exp(-((along / 0.16) ** 2))  # the dip under the nose
    edge = inside**0.6

    x = half_width * along
    inner_upper = corners - UPPER_SHARE * opened
    inner_lower = corners + (1 - UPPER_SHARE) * opened
    return Lips(
        outer_upper=np.stack([x, inner_upper - upper_thickness * edge * bow], axis=1),
        inner_upper=np.stack([x, inner_upper], axis=1),
        inner_lower=np.stack([x, inner_lower], axis=1),
        outer_lower=np.stack([x, inner_lower + lower_thickness * edge], axis=1),
        half_width=half_width,
        lower_thickness=lower_thickness,
    )


def paint_mouth(
    skin: np.ndarray, centre: tuple[float, float], scale: float, mouth: np.ndarray, palette: dict[str, np.ndarray]
) -> None:
    """Paint a mouth over skin, in place.

    skin: (H, W, 3) uint8 RGB, at least 60 x 60 portrait pixels around the mouth. centre: x, y of the mouth in skin.
    scale: pixels of skin per portrait pixel. mouth: (4,), one row of an articulation. palette: as PALETTE, (3,) each.
    """
    lips = shape_lips(float(mouth[OPENING]), float(mouth[WIDTH]))
    canvas = skin.astype(np.float32)

    def mask(outline: np.ndarray, blur: float) -> np.ndarray:
        """Coverage in [0, 1], (H, W, 1), of a closed outline (P, 2)."""
        corners = np.round((outline * scale + centre) * 2**SUBPIXEL).astype(np.int32)
        cover = np.zeros(skin.shape[:2], np.uint8)
        cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, SUBPIXEL)
        return cv2.GaussianBlur(cover, (0, 0), blur * scale)[..., None] * np.float32(1 / 255)

    def blend(cover: np.ndarray, colour: str, strength: float = 1.0) -> None:
        canvas[:] += cover * np.float32(strength) * (palette[colour] - canvas)

    bottom = lips.outer_lower[len(lips.outer_lower) // 2]
    middle = lips.inner_lower[len(lips.inner_lower) // 2]
    blend(mask(_ellipse(_lower(bottom, 1.5), 0.55 * lips.half_width, 1.8), 1.0), "shade", 0.5)
    blend(mask(_between(lips.outer_upper, lips.inner_upper), 0.45), "upper", 0.92)
    blend(mask(_between(lips.inner_lower, lips.outer_lower), 0.45), "lower", 0.92)
    blend(mask(_ellipse(_lower(middle, 0.55 * lips.lower_thickness), 0.45 * lips.half_width, 0.9), 0.6), "shine", 0.5)
    seam = _between(_lower(lips.inner_upper, -0.45), _lower(lips.inner_lower, 0.45))
    blend(mask(seam, 0.3), "seam", 0.85)
    if mouth[OPENING] > 0:
        inside = mask(_between(lips.inner_upper, lips.inner_lower), 0.25)
        blend(inside, "throat")
        gap = GAP * float(mouth[OPENING])
        raised = gap * (0.1 + 0.7 * float(mouth[TONGUE]))
        blend(inside * mask(_ellipse(middle, 0.65 * lips.half_width, raised), 0.4), "tongue", 0.9)
        gums = lips.inner_upper[4:-4]  # no teeth in the corners
        teeth = _between(_lower(gums, -1.0), _lower(gums, TOOTH * float(mouth[TEETH])))
        blend(inside * mask(teeth, 0.3), "teeth", 0.95)
    skin[:] = canvas.clip(0, 255).astype(np.uint8)


def _lower(places: np.ndarray, down: float) -> np.ndarray:
    """The same place or curve, (2,) or (P, 2), so far down."""
    return places + np.array([0.0, down])


def _between(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Outline of what lies between two curves with the same ends."""
    return np.concatenate([upper, lower[::-1]])


def _ellipse(centre: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return centre + np.stack([half_width * np.cos(angle), half_height * np.sin(angle)], axis=1)
