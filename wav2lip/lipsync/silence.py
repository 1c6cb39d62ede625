"""Mouths that rest while nobody speaks.

A generator copies from its reference what the sound does not tell it. In silence the sound tells it nothing, and the
mouth of the result moves with that of the source. Here it is shown a closed mouth of the same person then, and silence.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from wav2lip.audio import SILENCE
from wav2lip.lipsync.shown import Shown, Target

SILENCES = ("ease", "off")


class Silence:
    """What the generator hears and sees as its reference, for one request."""

    def __init__(self, openness: np.ndarray, closed: Callable[[Target, np.ndarray], np.ndarray | None]):
        """openness: (N,) float32 for each frame, from 0, shut, to 1, free.

        closed: from a target and its crop, that of the same person with the mouth shut, None if there is none.
        """
        self._openness, self._closed = openness, closed

    def mel(self, number: int, window: np.ndarray) -> np.ndarray:
        """The mel window of a frame, faded to silence as far as the mouth is to be shut."""
        share = self._share(number)
        return window if share == 1 else (share * window + (1 - share) * SILENCE).astype(np.float32)

    def reference(self, shown: Shown, target: Target, crop: np.ndarray) -> np.ndarray:
        """The reference for a crop (R, R, 3) uint8: the crop itself, faded to the closed mouth likewise."""
        share = self._share(shown.number)
        closed = None if share == 1 else self._closed(target, crop)
        return crop if closed is None else np.asarray(cv2.addWeighted(crop, share, closed, 1 - share, 0))

    def _share(self, number: int) -> float:
        return float(self._openness[min(number, len(self._openness) - 1)])
