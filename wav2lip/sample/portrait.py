"""A portrait whose lids, cheeks, jaw and lips move.

The portrait is the NASA picture of Eileen Collins, in the public domain, that ships with scikit-image. Places in it
were measured by hand, in its own pixels; the canvas is the part around the head, enlarged so that paint has smooth
edges.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

from wav2lip.sample.mouth import paint_mouth
from wav2lip.sample.speech import OPENING, WIDTH

LEFT, TOP, RIGHT, BOTTOM = 122, 4, 326, 234  # what is cut out
SCALE = 2  # canvas pixels per portrait pixel
CANVAS_HEIGHT, CANVAS_WIDTH = SCALE * (BOTTOM - TOP), SCALE * (RIGHT - LEFT)

MOUTH = (224.0, 146.0)  # where closed lips meet
SMILE = ((197, 141), (201, 136), (224, 137), (248, 136), (252, 141), (240, 153), (224, 158), (210, 155))  # outline
FACE = ((183, 88), (200, 78), (225, 82), (247, 88), (268, 90), (268, 130),
        (262, 152), (245, 173), (222, 180), (203, 173), (187, 150), (182, 125))  # fmt: skip
HEAD = ((228, 88), (78, 80))  # centre and half axes, with the hair
HAIR_BOTTOM = 131
EARS = ((174, 122), (271, 131))
EYES = ((203, 101), (246, 104))

MOVING = (172, 84, 276, 208)  # left, top, right, bottom of all that moves
JAW_DROP = 9.0  # at full opening
CHEEK_PULL = 3.5  # between neutral and fully rounded or spread lips
LID_DROP = 9.0


def to_canvas(place: tuple[float, float]) -> tuple[float, float]:
    """Canvas pixels of a place in the portrait."""
    return (place[0] - LEFT) * SCALE, (place[1] - TOP) * SCALE


def load_canvas() -> np.ndarray:
    """The portrait without its smile, (460, 408, 3) uint8 RGB; where the mouth was is plain skin."""
    portrait = skimage.data.astronaut()
    smile = cv2.fillPoly(np.zeros(portrait.shape[:2], np.uint8), [np.array(SMILE)], 255)
    skin = cv2.inpaint(portrait, smile, 5, cv2.INPAINT_NS)
    soft = cv2.GaussianBlur(skin, (0, 0), 3)  # the filling is streaky
    cover = cv2.GaussianBlur(smile, (0, 0), 1.5)[..., None] / 255
    plain = (skin + cover * (soft.astype(np.float64) - skin)).round().astype(np.uint8)
    cut = plain[TOP:BOTTOM, LEFT:RIGHT]
    return cv2.resize(cut, (CANVAS_WIDTH, CANVAS_HEIGHT), interpolation=cv2.INTER_CUBIC)


def find_hair_and_wall(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where hair and wall are: two (460, 408) float32 in [0, 1], soft at the edges."""
    face, head = np.zeros(canvas.shape[:2], np.uint8), np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(face, [np.array([to_canvas(place) for place in FACE], np.int32)], 1)
    cv2.ellipse(head, _whole(to_canvas(HEAD[0])), (HEAD[1][0] * SCALE, HEAD[1][1] * SCALE), 0, 0, 360, 1, -1)
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    chroma = np.hypot(lab[..., 1] - 128, lab[..., 2] - 128)
    wall = (chroma < 14) & (lab[..., 0] > 150) & (face == 0)
    for ear in EARS:
        cv2.ellipse(face, _whole(to_canvas(ear)), (8 * SCALE, 12 * SCALE), 0, 0, 360, 1, -1)
    hair = (head == 1) & (face == 0) & ~wall
    hair[int(to_canvas((0, HAIR_BOTTOM))[1]) :] = False
    soft = [cv2.GaussianBlur(area.astype(np.float32), (0, 0), 1.2 * SCALE) for area in (hair, wall)]
    return soft[0], soft[1]


class MovingFace:
    """Draws the canvas with a given mouth and given lids."""

    def __init__(self, canvas: np.ndarray, palette: dict[str, np.ndarray]):
        self.canvas = canvas
        self.palette = palette
        left, top = to_canvas(MOVING[:2])
        right, bottom = to_canvas(MOVING[2:])
        self.part = (slice(int(top), int(bottom)), slice(int(left), int(right)))
        self.mouth_place = (to_canvas(MOUTH)[0] - left, to_canvas(MOUTH)[1] - top)
        y, x = np.mgrid[MOVING[1] : MOVING[3] : 1 / SCALE, MOVING[0] : MOVING[2] : 1 / SCALE].astype(np.float32)
        self.rest = (x - LEFT) * SCALE, (y - TOP) * SCALE
        # How far each pixel goes, in canvas pixels: down with the jaw and the lids, outwards with the cheeks.
        self.jaw = SCALE * JAW_DROP * ramp(y, 142, 160) * ramp(y, 194, 179) * np.exp(-(((x - MOUTH[0]) / 42) ** 4))
        near = np.exp(-(((x - MOUTH[0]) / 27) ** 2) - ((y - MOUTH[1]) / 15) ** 2)
        self.cheek = SCALE * CHEEK_PULL * (x - MOUTH[0]) / 20 * near
        self.lid = np.zeros_like(x)
        for eye_x, eye_y in EYES:
            fold = ramp(y, eye_y - 10, eye_y + 2) * ramp(y, eye_y + 8, eye_y + 3)
            self.lid += SCALE * LID_DROP * fold * np.exp(-(((x - eye_x) / 14) ** 4))

    def draw(self, mouth: np.ndarray, lid: float) -> np.ndarray:
        """The canvas, (460, 408, 3) uint8 RGB. mouth: (4,), a row of an articulation. lid: 1 is closed."""
        source_x = self.rest[0] - self.cheek * (2 * float(mouth[WIDTH]) - 1)
        source_y = self.rest[1] - self.jaw * float(mouth[OPENING]) - self.lid * lid
        moved = np.asarray(cv2.remap(self.canvas, source_x, source_y, cv2.INTER_LINEAR), np.uint8)
        paint_mouth(moved, self.mouth_place, SCALE, mouth, self.palette)
        drawn = self.canvas.copy()
        drawn[self.part] = moved
        return drawn


def ramp(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    """A smooth step from 0 at one value to 1 at the other."""
    part = ((value - zero) / (one - zero)).clip(0, 1)
    return part * part * (3 - 2 * part)


def _whole(place: tuple[float, float]) -> tuple[int, int]:
    return int(place[0]), int(place[1])
