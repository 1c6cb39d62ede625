"""Temporal artifacts: flicker, and lips that move during silence."""

from __future__ import annotations

import numpy as np
import torch

from wav2lip.evaluation.metrics.base import LOWER, FrameSample, Metric, Scores, mouth_luma, not_computed

METRICS = (
    Metric("flicker", LOWER, "0 to 510; 0 for a still, and for brightness that changes steadily", "gray levels",
           "mean over frames and pixels of |x(t) - 2 x(t-1) + x(t-2)|, x the lower half of the face box in gray, all "
           "three cut at the box of frame t", "this project; the second difference in time ignores steady motion"),
    Metric("silence_motion", LOWER, "0 to 255; 0 for lips that do not move in silence", "gray levels",
           "mean over frames and pixels of |x(t) - x(t-1)| within silences: at least 8 frames whose RMS is below 2% of "
           "the 95% quantile, less 3 frames at both ends", "this project", "audio with a pause of 0.32 s or more"),
)  # fmt: skip


class TemporalStability:
    """Flicker and motion in silence; a `FrameMetric`."""

    def __init__(self, silent: np.ndarray | None = None):
        """silent: (T,) bool, frames in silence; None: motion in silence is not measured."""
        self._silent = np.zeros(0, bool) if silent is None else silent
        # Sums of flicker with the number of frames, and of motion with the number of frames.
        self.sums = torch.zeros(4, dtype=torch.float64)

    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored where the previous frames are missing."""
        if not sample.previous:
            return
        now, *previous = sample.mouth_luma, *map(mouth_luma, sample.previous[:2])
        if len(previous) == 2:
            self._add(0, now - 2 * previous[0] + previous[1])
        if sample.number < len(self._silent) and self._silent[sample.number - 1 : sample.number + 1].all():
            self._add(2, now - previous[0])

    def _add(self, index: int, difference: np.ndarray) -> None:
        self.sums[index] += float(np.abs(difference).mean(axis=(1, 2)).sum())
        self.sums[index + 1] += len(difference)

    def compute(self) -> Scores:
        """Return the means over frames."""
        flicker, flicker_frames, motion, motion_frames = self.sums.tolist()
        scores = not_computed(METRICS[:1], "no three consecutive frames have a face; give a longer video")
        if flicker_frames:
            scores = Scores({"flicker": flicker / flicker_frames})
        if motion_frames:
            return scores | Scores({"silence_motion": motion / motion_frames})
        return scores | not_computed(METRICS[1:], "no silence of 0.32 s has a face; use audio with pauses")
