"""What moves that should not: flicker, and lips that move while nothing is said."""

from __future__ import annotations

import numpy as np

from wav2lip.audio import SAMPLE_RATE
from wav2lip.evaluation.metrics.look import Look, grey, lower_half
from wav2lip.evaluation.metrics.metric import LOWER, Metric, Scores, not_computed
from wav2lip.windows import FPS

SAMPLES_PER_FRAME = int(SAMPLE_RATE / FPS)  # 640
QUIET = 0.02  # of the loudness of loud frames (their 95% quantile): 34 dB below
LEAST = 1e-4  # loudness, -80 dB of full scale, below which a frame is silent whatever the others are
SHORTEST = 8  # frames of a silence: shorter ones are stops within words
MARGIN = 3  # frames at both ends of a silence in which lips still close, or open already

METRICS = (
    Metric("flicker", LOWER, "0 to 510; 0 for a still, and for brightness that changes steadily", "grey levels",
           "mean over frames and pixels of |x(t) - 2 x(t-1) + x(t-2)|, x the lower half of the face box in grey, all "
           "three cut at the box of frame t", "this project; the second difference in time, blind to steady motion"),
    Metric("silence_motion", LOWER, "0 to 255; 0 for lips that rest in silence", "grey levels",
           "mean over frames and pixels of |x(t) - x(t-1)| within silences: at least 8 frames whose RMS is below 2% of "
           "the 95% quantile, less 3 frames at both ends", "this project", "sound with a pause of 0.32 s or more"),
)  # fmt: skip


class Steadiness:
    """Takes the frames of one video."""

    def __init__(self, silent: np.ndarray):
        """silent: (N,) bool, the frames in silence, as `silences` gives them."""
        self._silent = silent
        self._flicker: list[float] = []  # of each frame; 8 bytes a frame
        self._motion: list[float] = []

    def add(self, look: Look) -> None:
        """The next frame; passed over where there was no frame before it."""
        now, *before = [grey(lower_half(face)) for face in (look.face, *look.before[:2])]
        if len(before) == 2:
            self._flicker.append(unsteadiness(now, *before))
        if before and look.number < len(self._silent) and self._silent[look.number - 1 : look.number + 1].all():
            self._motion.append(float(np.abs(now - before[0]).mean()))

    def scores(self) -> Scores:
        """Means over frames."""
        flicker = (
            Scores({"flicker": float(np.mean(self._flicker))})
            if self._flicker
            else not_computed(METRICS[:1], "no three frames in a row have a face; give a longer video")
        )
        motion = (
            Scores({"silence_motion": float(np.mean(self._motion))})
            if self._motion
            else not_computed(METRICS[1:], "no silence of 0.32 s with a face in it; use sound with pauses")
        )
        return flicker | motion


def unsteadiness(now: np.ndarray, before: np.ndarray, earlier: np.ndarray) -> float:
    """How far a frame lies off the line through the two before it, each (h, w) grey: mean over pixels, grey levels."""
    return float(np.abs(now - 2 * before + earlier).mean())


def silences(wav: np.ndarray) -> np.ndarray:
    """Which frames lie in silence, (N,) bool, for sound (M,) float32 at 16 kHz that begins with the first frame."""
    frames = len(wav) // SAMPLES_PER_FRAME
    if not frames:
        return np.zeros(0, bool)
    loudness = np.sqrt(np.square(wav[: frames * SAMPLES_PER_FRAME].reshape(frames, -1), dtype=np.float64).mean(axis=1))
    quiet = loudness < max(LEAST, QUIET * float(np.quantile(loudness, 0.95)))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    silent = np.zeros(frames, bool)
    for begin, end in edges.reshape(-1, 2):
        if end - begin >= SHORTEST:
            silent[begin + MARGIN : end - MARGIN] = True
    return silent
