"""PSNR and SSIM against the ground truth, of the face and of its lower half."""

from __future__ import annotations

import torch

from wav2lip.evaluation.metrics.base import (
    HIGHER,
    FrameSample,
    Metric,
    Scores,
    lower_half,
    not_computed,
    to_planes,
)
from wav2lip.evaluation.metrics.image import psnr_from_errors, ssim

PSNR = "10 log10(255² / e), e the mean squared error over all pixels of all frames, finite unless all are equal"
SSIM = "mean over frames of SSIM under a Gaussian window of 11 x 11, sigma 1.5, at the original size"
WANG = "Wang et al. 2004, Image quality assessment: from error visibility to structural similarity"
TRUTH = "the ground-truth video, frame by frame"

FACE_METRICS = (
    Metric("psnr", HIGHER, "0 to infinity, infinity for equal videos", "dB", f"of the face box: {PSNR}",
           "ITU-T J.340; the average that FFmpeg's filter psnr prints", TRUTH),
    Metric("ssim", HIGHER, "-1 to 1, 1 for equal videos", "", f"of the face box: {SSIM}", WANG, TRUTH),
)  # fmt: skip
MOUTH_METRICS = (
    Metric("psnr_mouth", HIGHER, "0 to infinity, infinity for equal videos", "dB",
           "as psnr, of the lower half of the face box", "as psnr", TRUTH),
    Metric("ssim_mouth", HIGHER, "-1 to 1, 1 for equal videos", "", "as ssim, of the lower half of the face box",
           WANG, TRUTH),
)  # fmt: skip
METRICS = FACE_METRICS + MOUTH_METRICS
NO_TRUTH = "there is no ground-truth video; give one, as the mode pairs does"


class Fidelity:
    """PSNR and SSIM; a `FrameMetric`."""

    def __init__(self, mouth_only: bool = False):
        self.metrics = MOUTH_METRICS if mouth_only else METRICS
        # For each region the sum of squared errors, the number of bytes, the sum of SSIM, and the number of frames.
        self.sums = torch.zeros(1 if mouth_only else 2, 4, dtype=torch.float64)

    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored without ground truth."""
        if sample.truth is None:
            return
        pairs = [(sample.faces, sample.truth), (lower_half(sample.faces), lower_half(sample.truth))]
        for sums, (faces, truth) in zip(self.sums, pairs[-len(self.sums) :], strict=True):
            squares = (faces.int() - truth.int()).square().sum()
            similarity = ssim(to_planes(faces), to_planes(truth)).sum()
            sums += torch.tensor([float(squares), faces.numel(), float(similarity), len(faces)], dtype=torch.float64)

    def compute(self) -> Scores:
        """Return the scores of the frames with ground truth."""
        if not self.sums[0, -1]:
            return not_computed(self.metrics, NO_TRUTH)
        squares, values, similarity, frames = self.sums.numpy().T
        scores = zip(psnr_from_errors(squares, values), similarity / frames, strict=True)
        names = (metric.name for metric in self.metrics)
        return Scores({name: float(value) for name, value in zip(names, sum(scores, ()), strict=True)})
