"""Gate that fades a generated face out where it would smear: over a hand at the mouth, or beside a turned head.

There the mouth of the frame itself stays visible. Measured by benchmarks/occlusion.py; see docs/seams.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wav2lip.engine.interface import FaceTarget
from wav2lip.faces.head_pose import head_angles

# Levels: root mean square difference of generated face and frame where the mask falls, after color correction.
BORDER_LEVELS = (13.0, 17.0)  # from which the paste fades, and from which it is held back
# The same above the mouth, where the generator sees the frame, is its own error: one that errs everywhere is not gated.
ERROR_RATIO = 3.0
YAW_DEGREES, PITCH_DEGREES = (55.0, 70.0), (45.0, 60.0)
CLOSING_STEP, OPENING_STEP = 0.5, 0.2  # maximal change of the share from frame to frame
HELD_SHARE = 0.5  # below it a frame counts as held back


@dataclass(frozen=True)
class _State:
    index: int  # frame index
    share: float
    is_missed: bool  # see `FaceTarget`


class PasteGate:
    """Share of the generated face for each person, which changes softly from frame to frame."""

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}

    def __call__(self, index: int, target: FaceTarget, residual: np.ndarray, mask: np.ndarray) -> float:
        """Return the share from 0, held back, to 1, unrestricted.

        residual: (C, C) float32, absolute levels between frame and generated face over the box, after color
            correction. mask: weight of the generated face, any size, in [0, 1].
        """
        border = border_share(residual, mask)
        share = min(border, pose_share(target))
        last = self._states.get(target.person)
        if last is not None and last.index + 1 != index:
            last = None
        # One missed frame alone is usually an error of the detector.
        if target.is_missed and (border < 1 or (last is not None and last.is_missed)):
            share = 0.0
        if last is not None:
            share = min(max(share, last.share - CLOSING_STEP), last.share + OPENING_STEP)
        self._states[target.person] = _State(index, share, target.is_missed)
        return share


def border_share(residual: np.ndarray, mask: np.ndarray) -> float:
    """Return the share by the agreement of frame and generated face at the border of the mask; see `PasteGate`."""
    cells = len(residual)
    small = cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA)
    border = small * (1 - small)
    if border.sum() <= 0:
        return 1.0
    difference = float(np.sqrt((border * residual**2).sum() / border.sum()))
    error = float(np.sqrt(np.square(residual[cells // 3 : cells // 2]).mean()))
    limit = max(BORDER_LEVELS[0], ERROR_RATIO * error)
    return _fall(difference, limit, limit * BORDER_LEVELS[1] / BORDER_LEVELS[0])


def pose_share(target: FaceTarget) -> float:
    """Return the share by the angles of the head; 1 without landmarks."""
    angles = None if target.landmarks is None else head_angles(target.landmarks)
    if angles is None:
        return 1.0
    return min(_fall(angles[0], *YAW_DEGREES), _fall(angles[1], *PITCH_DEGREES))


def _fall(value: float, begin: float, end: float) -> float:
    """Smoothstep from 1 at `begin` to 0 at `end`."""
    x = min(max((value - begin) / (end - begin), 0.0), 1.0)
    return 1 - x * x * (3 - 2 * x)
