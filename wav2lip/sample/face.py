"""A made-up talking head: who it is, how it holds itself, and its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.sample.mouth import PALETTE
from wav2lip.sample.portrait import (
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    MOUTH,
    SCALE,
    MovingFace,
    find_hair_and_wall,
    load_canvas,
    ramp,
    to_canvas,
)
from wav2lip.sample.speech import FRAME_RATE

FRAME_HEIGHT, FRAME_WIDTH = 288, 256  # even numbers, as the encoder wants them
SWAY = 5.0  # portrait pixels to either side, at most
TILT = 4.0  # degrees to either side, at most
LEAN = 0.03  # share by which the head comes nearer or goes back
BLINK = np.array([0.5, 1.0, 1.0, 0.5])  # lids in successive frames


@dataclass(frozen=True)
class Look:
    """What tells one speaker's picture from another's."""

    mirrored: bool = False
    gamma: float = 1.0  # over 1 is darker
    warmth: float = 0.0  # from blue to yellow, in steps of 8-bit Lab
    hair: tuple[float, float, float] = (1.0, 0.0, 0.0)  # gain of lightness, steps to red, steps to yellow
    wall: tuple[float, float, float] = (1.0, 0.0, 0.0)  # the same
    broad: float = 1.0  # width of the face over the portrait's
    chin: float = 1.0  # length of the lower face over the portrait's
    zoom: float = 1.0  # at least 1, or the picture would end inside the frame

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """A random look."""

        def dye(low: tuple[float, float, float], high: tuple[float, float, float]) -> tuple[float, float, float]:
            gain, red, yellow = rng.uniform(low, high)
            return float(gain), float(red), float(yellow)

        return cls(
            mirrored=bool(rng.integers(2)),
            gamma=float(rng.uniform(0.8, 1.5)),
            warmth=float(rng.uniform(-7, 9)),
            hair=dye((0.35, 0, -18), (1.05, 12, 6)),
            wall=dye((0.5, -18, -22), (1.0, 18, 18)),
            broad=float(rng.uniform(0.9, 1.1)),
            chin=float(rng.uniform(0.94, 1.1)),
            zoom=float(rng.uniform(1.0, 1.15)),
        )


def animate(articulation: np.ndarray, look: Look, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Frames of one speaker, (288, 256, 3) uint8 RGB, one for each row of an articulation (N, 4)."""
    colours = np.array([list(PALETTE.values())], np.uint8)
    palette = dict(zip(PALETTE, _light(colours, look)[0].astype(np.float32), strict=True))
    face = MovingFace(_light(_dye(load_canvas(), look), look), palette)
    y, x = np.mgrid[:FRAME_HEIGHT, :FRAME_WIDTH].astype(np.float32)
    upright = np.stack([x * (CANVAS_WIDTH / FRAME_WIDTH), y * (CANVAS_HEIGHT / FRAME_HEIGHT)], axis=-1)
    still = _proportion(upright, look)
    head = _head_weight(still)
    motions, lids = _motions(len(articulation), rng), _lids(len(articulation), rng)
    for mouth, motion, lid in zip(articulation, motions, lids, strict=True):
        source_x, source_y = cv2.split(still + head * cv2.transform(still, motion))
        drawn = face.draw(mouth, float(lid))
        frame = cv2.remap(drawn, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield np.ascontiguousarray(frame[:, ::-1] if look.mirrored else frame, np.uint8)


def _dye(canvas: np.ndarray, look: Look) -> np.ndarray:
    """Another colour for hair and wall."""
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    for area, (gain, red, yellow) in zip(find_hair_and_wall(canvas), (look.hair, look.wall), strict=True):
        dyed = lab * (gain, 1, 1) + (0, red, yellow)
        lab += area[..., None] * (dyed - lab).astype(np.float32)
    return cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def _light(picture: np.ndarray, look: Look) -> np.ndarray:
    """Another light on a picture (H, W, 3) uint8 RGB, or on a row of colours."""
    curve = (255 * (np.arange(256) / 255) ** look.gamma).round().astype(np.uint8)
    lab = cv2.cvtColor(cv2.LUT(picture, curve), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 2] += look.warmth
    return cv2.cvtColor(lab.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def _proportion(places: np.ndarray, look: Look) -> np.ndarray:
    """Canvas pixel to take for each (H, W, 2) canvas pixel, for the face to have other proportions."""
    mouth_x, mouth_y = to_canvas(MOUTH)
    x, y = (places[..., 0] - mouth_x) / SCALE, (places[..., 1] - mouth_y) / SCALE  # portrait pixels from the mouth
    x, y = x / look.zoom, y / look.zoom
    near = np.exp(-((x / 80) ** 2) - ((y + 30) / 90) ** 2)
    source_x = x / (1 + (look.broad - 1) * near)
    source_y = y - 50 * (look.chin - 1) * ramp(y, -25, 35) * ramp(y, 85, 40) * np.exp(-((x / 70) ** 4))
    return np.stack([source_x * SCALE + mouth_x, source_y * SCALE + mouth_y], axis=-1).astype(np.float32)


def _head_weight(places: np.ndarray) -> np.ndarray:
    """How much each (H, W, 2) canvas pixel goes with the head, (H, W, 1) in [0, 1]; shoulders and far walls stay."""
    centre_x, centre_y = to_canvas((226, 105))
    distance = np.hypot((places[..., 0] - centre_x) / (98 * SCALE), (places[..., 1] - centre_y) / (105 * SCALE))
    return ramp(distance, 1.0, 0.7)[..., None].astype(np.float32)


def _motions(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Slow motion of the head: (N, 2, 3) float32, from a canvas pixel to how far away its source lies."""
    seconds = np.arange(frames)[:, None] / FRAME_RATE
    hertz, phase = rng.uniform(0.08, 0.4, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4))
    x, y, turn, lean = np.sin(2 * np.pi * hertz * seconds[..., None] + phase).mean(axis=1).T  # (N, 2, 4) -> 4 x (N,)
    angle, size = np.radians(TILT) * turn, 1 + LEAN * lean
    pivot_x, pivot_y = to_canvas((222, 185))  # the neck
    cosine, sine = size * np.cos(angle) - 1, size * np.sin(angle)
    motion = np.empty((frames, 2, 3))
    motion[:, 0] = np.stack([cosine, -sine, SCALE * SWAY * x - cosine * pivot_x + sine * pivot_y], axis=1)
    motion[:, 1] = np.stack([sine, cosine, SCALE * SWAY * y - sine * pivot_x - cosine * pivot_y], axis=1)
    return motion.astype(np.float32)


def _lids(frames: int, rng: np.random.Generator) -> np.ndarray:
    """How far the lids are down in each frame, (N,) in [0, 1]: a blink every few seconds."""
    starts = np.cumsum(rng.uniform(1.5, 5.0, frames // FRAME_RATE + 1) * FRAME_RATE).astype(int)
    lids = np.zeros(frames + len(BLINK))
    for start in starts[starts < frames]:
        lids[start : start + len(BLINK)] = BLINK
    return lids[:frames]
