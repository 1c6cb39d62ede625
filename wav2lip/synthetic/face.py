"""Animated frames of a synthetic talking head: appearance, head motion and blinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.audio.windows import FPS
from wav2lip.synthetic.mouth import PALETTE
from wav2lip.synthetic.portrait import (
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    MOUTH,
    SCALE,
    FaceRenderer,
    load_canvas,
    segment_hair_and_wall,
    smoothstep,
    to_canvas,
)

FRAME_HEIGHT, FRAME_WIDTH = 288, 256  # H.264 requires even sizes
MAX_SWAY = 5.0  # portrait pixels in each direction
MAX_TILT_DEGREES = 4.0  # limit in each direction
MAX_SCALE_CHANGE = 0.03  # relative; the head leans towards or away from the camera
BLINK = np.array([0.5, 1.0, 1.0, 0.5])  # eyelid closure in successive frames


@dataclass(frozen=True)
class Appearance:
    """Visual traits of a speaker."""

    mirrored: bool = False
    gamma: float = 1.0  # above 1 darkens the image
    warmth: float = 0.0  # shift of the b channel of 8-bit Lab, blue to yellow
    hair: tuple[float, float, float] = (1.0, 0.0, 0.0)  # gain of L, shifts of a and b (8-bit Lab)
    wall: tuple[float, float, float] = (1.0, 0.0, 0.0)  # the same for the background
    face_width: float = 1.0  # relative to the portrait
    chin_length: float = 1.0  # relative to the portrait
    zoom: float = 1.0  # must be at least 1: a smaller portrait would not fill the frame

    @classmethod
    def random(cls, rng: np.random.Generator) -> Appearance:
        """Sample an appearance."""

        def random_color(
            low: tuple[float, float, float], high: tuple[float, float, float]
        ) -> tuple[float, float, float]:
            gain, red, yellow = rng.uniform(low, high)
            return float(gain), float(red), float(yellow)

        return cls(
            mirrored=bool(rng.integers(2)),
            gamma=float(rng.uniform(0.8, 1.5)),
            warmth=float(rng.uniform(-7, 9)),
            hair=random_color((0.35, 0, -18), (1.05, 12, 6)),
            wall=random_color((0.5, -18, -22), (1.0, 18, 18)),
            face_width=float(rng.uniform(0.9, 1.1)),
            chin_length=float(rng.uniform(0.94, 1.1)),
            zoom=float(rng.uniform(1.0, 1.15)),
        )


def animate(articulation: np.ndarray, appearance: Appearance, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield one frame, (288, 256, 3) uint8 RGB, for each row of an articulation (N, 4)."""
    colors = np.array([list(PALETTE.values())], np.uint8)
    palette = dict(zip(PALETTE, _relight(colors, appearance)[0].astype(np.float32), strict=True))
    face = FaceRenderer(_relight(_recolor(load_canvas(), appearance), appearance), palette)
    y, x = np.mgrid[:FRAME_HEIGHT, :FRAME_WIDTH].astype(np.float32)
    grid = np.stack([x * (CANVAS_WIDTH / FRAME_WIDTH), y * (CANVAS_HEIGHT / FRAME_HEIGHT)], axis=-1)
    portrait_grid = _warp_proportions(grid, appearance)
    head_mask = _head_mask(portrait_grid)
    motions = _sample_head_motion(len(articulation), rng)
    lids = _sample_blinks(len(articulation), rng)
    for mouth, motion, lid in zip(articulation, motions, lids, strict=True):
        source_x, source_y = cv2.split(portrait_grid + head_mask * cv2.transform(portrait_grid, motion))
        rendered = face.render(mouth, float(lid))
        frame = cv2.remap(rendered, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield np.ascontiguousarray(frame[:, ::-1] if appearance.mirrored else frame, np.uint8)


def _recolor(canvas: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Change the colors of hair and background."""
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    for mask, (gain, red, yellow) in zip(
        segment_hair_and_wall(canvas), (appearance.hair, appearance.wall), strict=True
    ):
        recolored = lab * (gain, 1, 1) + (0, red, yellow)
        lab += mask[..., None] * (recolored - lab).astype(np.float32)
    return cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def _relight(image: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Apply gamma and warmth to an image (H, W, 3) uint8 RGB, or to a row of colors."""
    curve = (255 * (np.arange(256) / 255) ** appearance.gamma).round().astype(np.uint8)
    lab = cv2.cvtColor(cv2.LUT(image, curve), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 2] += appearance.warmth
    return cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def _warp_proportions(points: np.ndarray, appearance: Appearance) -> np.ndarray:
    """Map (H, W, 2) canvas coordinates to the source coordinates that give the face its width and chin length."""
    mouth_x, mouth_y = to_canvas(MOUTH)
    x, y = (points[..., 0] - mouth_x) / SCALE, (points[..., 1] - mouth_y) / SCALE  # portrait pixels from the mouth
    x, y = x / appearance.zoom, y / appearance.zoom
    near = np.exp(-((x / 80) ** 2) - ((y + 30) / 90) ** 2)
    source_x = x / (1 + (appearance.face_width - 1) * near)
    source_y = y - 50 * (appearance.chin_length - 1) * smoothstep(y, -25, 35) * smoothstep(y, 85, 40) * np.exp(
        -((x / 70) ** 4)
    )
    return np.stack([source_x * SCALE + mouth_x, source_y * SCALE + mouth_y], axis=-1).astype(np.float32)


def _head_mask(points: np.ndarray) -> np.ndarray:
    """Return weights of head motion at (H, W, 2) points: (H, W, 1) in [0, 1], 0 on shoulders and background."""
    center_x, center_y = to_canvas((226, 105))
    distance = np.hypot((points[..., 0] - center_x) / (98 * SCALE), (points[..., 1] - center_y) / (105 * SCALE))
    return smoothstep(distance, 1.0, 0.7)[..., None].astype(np.float32)


def _sample_head_motion(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Sample slow head motion: (N, 2, 3) float32 affine maps from a canvas point to the displacement of its source."""
    seconds = np.arange(frames)[:, None] / FPS
    hertz, phase = rng.uniform(0.08, 0.4, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4))
    x, y, turn, lean = np.sin(2 * np.pi * hertz * seconds[..., None] + phase).mean(axis=1).T  # (N, 2, 4) -> 4 x (N,)
    angle, size = np.radians(MAX_TILT_DEGREES) * turn, 1 + MAX_SCALE_CHANGE * lean
    pivot_x, pivot_y = to_canvas((222, 185))  # the neck
    cosine, sine = size * np.cos(angle) - 1, size * np.sin(angle)
    motion = np.empty((frames, 2, 3))
    motion[:, 0] = np.stack([cosine, -sine, SCALE * MAX_SWAY * x - cosine * pivot_x + sine * pivot_y], axis=1)
    motion[:, 1] = np.stack([sine, cosine, SCALE * MAX_SWAY * y - sine * pivot_x - cosine * pivot_y], axis=1)
    return motion.astype(np.float32)


def _sample_blinks(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Sample eyelid closure per frame, (N,) in [0, 1], with a blink every few seconds."""
    starts = np.cumsum(rng.uniform(1.5, 5.0, frames // FPS + 1) * FPS).astype(int)
    lids = np.zeros(frames + len(BLINK))
    for start in starts[starts < frames]:
        lids[start : start + len(BLINK)] = BLINK
    return lids[:frames]
