"""How sharp the mouth is, against the mouth of the video that the face was taken from."""

from __future__ import annotations

import cv2
import numpy as np

from wav2lip.evaluation.metrics.look import Look, grey, lower_half
from wav2lip.evaluation.metrics.metric import ONE, Metric, Scores, not_computed

METRICS = (
    Metric("sharpness", ONE, "0 to infinity: below 1 blurrier than the source, above 1 sharper or noisier", "",
           "sum over frames of the variance of the Laplacian (4 neighbours) of the lower half of the face box in grey, "
           "divided by the same of the source's frames",
           "variance of the Laplacian: Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy",
           "the video that the face was taken from"),
)  # fmt: skip


class Sharpness:
    """Takes the frames of one video."""

    def __init__(self) -> None:
        self._made = self._source = 0.0

    def add(self, look: Look) -> None:
        """The next frame; passed over where there is no source."""
        if look.source is not None:
            self._made += edges(look.face)
            self._source += edges(look.source)

    def scores(self) -> Scores:
        """Of all frames that had a source."""
        if not self._source:
            return not_computed(METRICS, "there is no source video whose sharpness it could be compared with; give one")
        return Scores({"sharpness": self._made / self._source})


def edges(face: np.ndarray) -> float:
    """Variance of the Laplacian of the lower half of a face, in squared grey levels."""
    return float(cv2.Laplacian(grey(lower_half(face)), cv2.CV_32F).var())
