"""Sharpness of the mouth, relative to the video that the face was taken from."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from wav2lip.evaluation.metrics.base import ONE, FrameSample, Metric, Scores, mouth_luma, not_computed

METRICS = (
    Metric("sharpness", ONE, "0 to infinity: below 1 blurrier than the source, above 1 sharper or noisier", "",
           "sum over frames of the variance of the Laplacian (4 neighbors) of the lower half of the face box in gray, "
           "divided by that of the source's frames",
           "variance of the Laplacian: Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy",
           "the video that the face was taken from"),
)  # fmt: skip


class Sharpness:
    """Ratio of the variances of the Laplacian; a `FrameMetric`."""

    def __init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64)  # of the faces and of their sources

    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored without source."""
        if sample.source is not None:
            self.sums[0] += laplacian_variance(sample.mouth_luma)
            self.sums[1] += laplacian_variance(mouth_luma(sample.source))

    def compute(self) -> Scores:
        """Return the ratio over all frames with a source."""
        faces, sources = self.sums.tolist()
        if not sources:
            return not_computed(METRICS, "there is no source video to compare the sharpness with; give one")
        return Scores({"sharpness": faces / sources})


def laplacian_variance(images: np.ndarray) -> float:
    """Sum over grayscale images (N, h, w) float32 of the variance of the Laplacian, in squared gray levels."""
    return sum(float(cv2.Laplacian(image, cv2.CV_32F).var()) for image in images)
