"""A portrait with moving eyelids, cheeks, jaw and lips.

The portrait is the public-domain NASA photo of Eileen Collins that ships with scikit-image. Coordinates were measured
by hand in portrait pixels. The canvas is the region around the head, enlarged so that painted edges are smooth.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

from wav2lip.synthetic.mouth import paint_mouth
from wav2lip.synthetic.voice import OPENING, WIDTH

LEFT, TOP, RIGHT, BOTTOM = 122, 4, 326, 234  # canvas region, portrait pixels
SCALE = 2  # canvas pixels per portrait pixel
CANVAS_HEIGHT, CANVAS_WIDTH = SCALE * (BOTTOM - TOP), SCALE * (RIGHT - LEFT)

MOUTH = (224.0, 146.0)  # center of the closed lips
SMILE_OUTLINE = ((197, 141), (201, 136), (224, 137), (248, 136), (252, 141), (240, 153), (224, 158), (210, 155))
FACE_OUTLINE = ((183, 88), (200, 78), (225, 82), (247, 88), (268, 90), (268, 130),
        (262, 152), (245, 173), (222, 180), (203, 173), (187, 150), (182, 125))  # fmt: skip
HEAD_ELLIPSE = ((228, 88), (78, 80))  # center and half axes, hair included
HAIR_BOTTOM_Y = 131
EARS = ((174, 122), (271, 131))
EYES = ((203, 101), (246, 104))

MOVING_BOX = (172, 84, 276, 208)  # left, top, right, bottom of the animated region
MAX_JAW_DROP = 9.0  # portrait pixels
MAX_CHEEK_SHIFT = 3.5  # portrait pixels from neutral to fully rounded or spread lips
MAX_LID_DROP = 9.0  # portrait pixels


def to_canvas(point: tuple[float, float]) -> tuple[float, float]:
    """Convert portrait coordinates to canvas coordinates."""
    return (point[0] - LEFT) * SCALE, (point[1] - TOP) * SCALE


def load_canvas() -> np.ndarray:
    """Return the portrait with the mouth inpainted by skin, (460, 408, 3) uint8 RGB."""
    portrait = skimage.data.astronaut()
    smile = cv2.fillPoly(np.zeros(portrait.shape[:2], np.uint8), [np.array(SMILE_OUTLINE)], 255)
    inpainted = cv2.inpaint(portrait, smile, 5, cv2.INPAINT_NS)
    smooth = cv2.GaussianBlur(inpainted, (0, 0), 3)  # inpainting leaves streaks
    weight = cv2.GaussianBlur(smile, (0, 0), 1.5)[..., None] / 255
    neutral = (inpainted + weight * (smooth.astype(np.float64) - inpainted)).round().astype(np.uint8)
    region = neutral[TOP:BOTTOM, LEFT:RIGHT]
    return cv2.resize(region, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_CUBIC)


def segment_hair_and_wall(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of hair and background with soft edges, two (460, 408) float32 in [0, 1]."""
    face, head = np.zeros(canvas.shape[:2], np.uint8), np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(face, [np.array([to_canvas(point) for point in FACE_OUTLINE], np.int32)], 1)
    center, (half_width, half_height) = HEAD_ELLIPSE
    cv2.ellipse(head, _to_int(to_canvas(center)), (half_width * SCALE, half_height * SCALE), 0, 0, 360, 1, -1)
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    chroma = np.hypot(lab[..., 1] - 128, lab[..., 2] - 128)
    wall = (chroma < 14) & (lab[..., 0] > 150) & (face == 0)
    for ear in EARS:
        cv2.ellipse(face, _to_int(to_canvas(ear)), (8 * SCALE, 12 * SCALE), 0, 0, 360, 1, -1)
    hair = (head == 1) & (face == 0) & ~wall
    hair[int(to_canvas((0, HAIR_BOTTOM_Y))[1]) :] = False
    masks = [cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2 * SCALE) for mask in (hair, wall)]
    return masks[0], masks[1]


class FaceRenderer:
    """Renderer of the canvas for a mouth articulation and an eyelid closure."""

    def __init__(self, canvas: np.ndarray, palette: dict[str, np.ndarray]):
        self.canvas = canvas
        self.palette = palette
        left, top = to_canvas(MOVING_BOX[:2])
        right, bottom = to_canvas(MOVING_BOX[2:])
        self.region = (slice(int(top), int(bottom)), slice(int(left), int(right)))
        self.mouth_center = (to_canvas(MOUTH)[0] - left, to_canvas(MOUTH)[1] - top)
        x0, y0, x1, y1 = MOVING_BOX
        y, x = np.mgrid[y0 : y1 : 1 / SCALE, x0 : x1 : 1 / SCALE].astype(np.float32)
        self.grid = (x - LEFT) * SCALE, (y - TOP) * SCALE
        # Displacement in canvas pixels at full deflection: jaw and lids move down, cheeks move outwards.
        jaw_mask = smoothstep(y, 142, 160) * smoothstep(y, 194, 179) * np.exp(-(((x - MOUTH[0]) / 42) ** 4))
        self.jaw = SCALE * MAX_JAW_DROP * jaw_mask
        cheek_mask = np.exp(-(((x - MOUTH[0]) / 27) ** 2) - ((y - MOUTH[1]) / 15) ** 2)
        self.cheek = SCALE * MAX_CHEEK_SHIFT * (x - MOUTH[0]) / 20 * cheek_mask
        self.lid = np.zeros_like(x)
        for eye_x, eye_y in EYES:
            fold = smoothstep(y, eye_y - 10, eye_y + 2) * smoothstep(y, eye_y + 8, eye_y + 3)
            self.lid += SCALE * MAX_LID_DROP * fold * np.exp(-(((x - eye_x) / 14) ** 4))

    def render(self, mouth: np.ndarray, lid: float) -> np.ndarray:
        """Return the canvas, (460, 408, 3) uint8 RGB. mouth: (4,), a row of an articulation. lid: 0 open, 1 closed."""
        source_x = self.grid[0] - self.cheek * (2 * float(mouth[WIDTH]) - 1)
        source_y = self.grid[1] - self.jaw * float(mouth[OPENING]) - self.lid * lid
        warped = np.asarray(cv2.remap(self.canvas, source_x, source_y, cv2.INTER_LINEAR), np.uint8)
        paint_mouth(warped, self.mouth_center, SCALE, mouth, self.palette)
        frame = self.canvas.copy()
        frame[self.region] = warped
        return frame


def smoothstep(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    """Interpolate smoothly from 0 at `zero` to 1 at `one`."""
    fraction = ((value - zero) / (one - zero)).clip(0, 1)
    return fraction * fraction * (3 - 2 * fraction)


def _to_int(point: tuple[float, float]) -> tuple[int, int]:
    return int(point[0]), int(point[1])
