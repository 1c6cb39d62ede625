"""Frame metrics on short videos, and images degraded for them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn

from wav2lip.evaluation.metrics.base import FrameSample, Scores


def to_batch(face: np.ndarray | None) -> torch.Tensor | None:
    """Return a face as a batch of one."""
    return None if face is None else torch.from_numpy(face)[None]


def compute_scores(metric, faces, truth=None, source=None) -> Scores:
    """Feed the faces of a video to a metric and return its scores."""
    for number, face in enumerate(faces):
        previous = tuple(to_batch(faces[number - back]) for back in (1, 2) if number - back >= 0)
        true_face, source_face = (images[number] if images else None for images in (truth, source))
        metric.update(FrameSample(number, to_batch(face), previous, to_batch(true_face), to_batch(source_face)))
    return metric.compute()


def blur(face: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of this standard deviation in pixels."""
    return cv2.GaussianBlur(face, (0, 0), sigma)


def add_noise(face: np.ndarray, levels: float) -> np.ndarray:
    """Add Gaussian noise of this standard deviation in levels."""
    rng = np.random.default_rng(0)
    return np.clip(face + rng.normal(0, levels, face.shape), 0, 255).astype(np.uint8)


class BrightnessHeatmaps(nn.Module):
    """Heat maps of a landmark network: the brightness, for every landmark."""

    def forward(self, faces):
        return faces.mean(dim=1, keepdim=True).repeat(1, 68, 1, 1)
