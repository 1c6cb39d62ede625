"""Motion of a mouth: how much it moves, in relation to the time around and to the mouth at rest."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.faces.mouth_patch import PATCH_SIZE, average_landmarks, mouth_patch

BLUR_SIGMA_PIXELS = 1.0  # of the patch; less detail is noise of the encoder
LIPS = np.s_[14:50, 12:52]  # of the patch, whose mouth corners are on row 21
MAX_SHIFT_PIXELS = 6.0  # of the patch from frame to frame; more is not the head but a failed registration

SMOOTH_S = 0.08  # standard deviation of the smoothed motion
REST_QUANTILE = 0.1  # of the motion of a person: that of a mouth at rest
MAX_MOTION = 2.0  # log of the ratio to the mouth at rest; more does not speak for speech
TREND_S = 2.0  # slower changes of motion and audio, such as distance and emphasis, are not compared


class MouthMotion:
    """Motion of the lips of one person from frame to frame, without that of the head."""

    def __init__(self) -> None:
        self.values: list[float] = []  # mean absolute change of the lips in shares of the brightness; NaN at the start
        self._previous: np.ndarray | None = None
        self._window = cv2.createHanningWindow((PATCH_SIZE, PATCH_SIZE), cv2.CV_32F)

    def add(self, frame: np.ndarray, face: TrackedFace) -> None:
        """Add the next frame (H, W, 3) uint8."""
        landmarks = average_landmarks(face.box) if face.landmarks is None else face.landmarks
        patch = cv2.cvtColor(mouth_patch(frame, landmarks), cv2.COLOR_RGB2GRAY).astype(np.float32)
        patch /= max(1.0, float(np.median(patch)))
        patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), BLUR_SIGMA_PIXELS), np.float32)
        self.values.append(float("nan") if self._previous is None else self._change(self._previous, patch))
        self._previous = patch

    def _change(self, previous: np.ndarray, patch: np.ndarray) -> float:
        # Copies, because phaseCorrelate multiplies its inputs by the window.
        (right, down), _ = cv2.phaseCorrelate(previous.copy(), patch.copy(), self._window)
        if max(abs(right), abs(down)) > MAX_SHIFT_PIXELS:
            right, down = 0.0, 0.0
        matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
        moved = cv2.warpAffine(previous, matrix, patch.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(patch - moved)[LIPS].mean())


def lip_activity(motions: Sequence[np.ndarray], fps: float) -> list[np.ndarray]:
    """Return the deviation of the logarithm of the motion from its trend, of variance 1 over all tracks of a person.

    motions: values (N,) of `MouthMotion` of each track, of consecutive frames.
    """
    fast = [_remove_trend(_smooth_log(motion, fps), fps) for motion in motions]
    scale = _scale(np.concatenate(fast))
    return [values / scale for values in fast]


def motion_above_rest(motions: Sequence[np.ndarray], fps: float) -> list[np.ndarray]:
    """Return the logarithm of the ratio to the motion of the same mouth at rest, at most MAX_MOTION, of each track."""
    logs = [_smooth_log(motion, fps) for motion in motions]
    rest = np.quantile(np.concatenate(logs), REST_QUANTILE)
    return [np.minimum(log - rest, MAX_MOTION) for log in logs]


def deviation(values: np.ndarray, fps: float) -> np.ndarray:
    """Return the deviation from the trend, scaled to variance 1."""
    fast = _remove_trend(values, fps)
    return np.asarray(fast / _scale(fast))


def _remove_trend(values: np.ndarray, fps: float) -> np.ndarray:
    return np.asarray(values - uniform_filter1d(values, 2 * round(TREND_S * fps / 2) + 1, mode="nearest"))


def _scale(values: np.ndarray) -> float:
    return max(float(values.std()), 1e-6)


def _smooth_log(motion: np.ndarray, fps: float) -> np.ndarray:
    filled = np.concatenate([motion[1:2], motion[1:]]) if len(motion) > 1 else np.zeros(len(motion))
    return np.asarray(gaussian_filter1d(np.log(np.maximum(filled, 1e-4)), SMOOTH_S * fps))
