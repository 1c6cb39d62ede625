"""Random blinks: the eye closure of every frame, an input of the expression network."""

from __future__ import annotations

import random

import numpy as np

BLINK = (0.5, 0.9, 1.0, 0.9, 0.5)  # closure of the eyes over five frames
MIN_PAUSE_FRAMES = 10  # frames at 25 fps from the end of a blink to the next one
MAX_PAUSE_FRAMES = 70


def draw_blinks(frames: int, generator: random.Random) -> np.ndarray:
    """Draw the closure of the eyes, (frames,) float32 from 0, open, to 1, at 25 fps.

    Clips of less than 22 frames have no blink: the pause before the first one is shorter than half of the clip.
    """
    closure = np.zeros(frames, np.float32)
    pauses = range(min(MIN_PAUSE_FRAMES, frames), min(frames // 2, MAX_PAUSE_FRAMES))
    position = 0
    while len(pauses):
        start = position + generator.choice(pauses)
        position = start + len(BLINK)
        if position > frames - 1:
            break
        closure[start:position] = BLINK
    return closure
