"""What passes from stage to stage while a result is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels, right and bottom exclusive


@dataclass(frozen=True)
class Target:
    """A face in a frame that is given new lips."""

    box: Box
    landmarks: np.ndarray | None = None  # (5, 2) float32, x and y in pixels: eyes, nose tip, mouth corners; left first
    person: int = 0  # the same number from frame to frame


@dataclass
class Shown:
    """A frame of the result, on its way through the stages."""

    number: int  # of the result, from 0
    frame: np.ndarray  # (H, W, 3) uint8 RGB; a stage may change it in place
    targets: Sequence[Target]  # empty where there is no face to be given lips
