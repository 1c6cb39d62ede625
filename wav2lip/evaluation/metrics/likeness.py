"""How like the truth the frames are: PSNR and SSIM, of the face and of its lower half."""

from __future__ import annotations

import numpy as np

from wav2lip.evaluation.metrics.look import Look, as_values, lower_half
from wav2lip.evaluation.metrics.metric import HIGHER, Metric, Scores, not_computed
from wav2lip.image_metrics import psnr_of_all, ssim

OF_PSNR = "10 log10(255² / e), e the mean squared error over all pixels of all frames, so one perfect frame is not all"
OF_SSIM = "mean over frames of SSIM under a Gaussian window of 11 x 11, sigma 1.5, of pictures at their own size"
WANG = "Wang et al. 2004, Image quality assessment: from error visibility to structural similarity"
TRUTH = "the true video, frame by frame"

METRICS = (
    Metric("psnr", HIGHER, "0 to infinity, infinity for equal videos", "dB", f"of the face box: {OF_PSNR}",
           "ITU-T J.340; the average that FFmpeg's filter psnr prints", TRUTH),
    Metric("ssim", HIGHER, "-1 to 1, 1 for equal videos", "", f"of the face box: {OF_SSIM}", WANG, TRUTH),
    Metric("psnr_mouth", HIGHER, "0 to infinity, infinity for equal videos", "dB",
           "as psnr, of the lower half of the face box", "as psnr", TRUTH),
    Metric("ssim_mouth", HIGHER, "-1 to 1, 1 for equal videos", "", "as ssim, of the lower half of the face box",
           WANG, TRUTH),
)  # fmt: skip
NO_TRUTH = "there is no true video to compare with; give one, as evaluate pairs does"


class Likeness:
    """Takes the frames of one video."""

    def __init__(self) -> None:
        self._squares, self._values = np.zeros(2), np.zeros(2)  # sums of squared errors, and of how many
        self._ssim, self._frames = np.zeros(2), 0

    def add(self, look: Look) -> None:
        """The next frame; passed over where there is no truth."""
        if look.truth is None:
            return
        pairs = (look.face, look.truth), (lower_half(look.face), lower_half(look.truth))
        for part, (made, true) in enumerate(pairs):
            self._squares[part] += np.square(made.astype(np.float64) - true).sum()
            self._values[part] += made.size
            self._ssim[part] += float(ssim(as_values(made), as_values(true)))
        self._frames += 1

    def scores(self) -> Scores:
        """Means over the frames that had a truth."""
        if not self._frames:
            return not_computed(METRICS, NO_TRUTH)
        decibels = psnr_of_all(self._squares, self._values)
        alike = self._ssim / self._frames
        found = (decibels[0], alike[0], decibels[1], alike[1])
        return Scores({metric.name: float(value) for metric, value in zip(METRICS, found, strict=True)})
