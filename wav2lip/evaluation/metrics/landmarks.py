"""Landmark distance (LMD): displacement of the lips' landmarks from those of the ground truth."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from face_detection.landmarks.fan68 import MOUTH, NUM_LANDMARKS, decode_heatmaps
from models.fan import INPUT_SIZE
from wav2lip.evaluation.metrics.base import LOWER, FrameSample, Metric, Scores, not_computed, resize_faces, to_planes
from wav2lip.evaluation.metrics.fidelity import NO_TRUTH
from wav2lip.evaluation.metrics.torchscript import run_network

FLAG = "--landmark_network"
METRICS = (
    Metric("lmd", LOWER, "0 to about 30; 0 for equal videos", "% of the face box's width",
           "mean over frames and the 20 landmarks of the lips of the distance between generated and true, in one box",
           "Chen et al. 2018, Lip movements generation at a glance; points: Bulat and Tzimiropoulos 2017 (FAN)",
           f"the ground-truth video; {FLAG} (TorchScript: (N, 3, 256, 256) to heat maps (N, 68, h, w)), or "
           "face-alignment's 2DFAN4 in torch's cache"),
)  # fmt: skip
NO_NETWORK = f"{FLAG} is not set; give a landmark network, for example the 2DFAN4 that face-alignment downloads"


class LandmarkDistance:
    """LMD; a `FrameMetric`."""

    def __init__(self, network: nn.Module | None, device: torch.device | str = "cpu"):
        """network: (N, 3, 256, 256) float32 RGB in [0, 1] to heat maps (N, 68, h, w); None: not computed."""
        self.network, self.device = network, device
        self.sums = torch.zeros(2, dtype=torch.float64)  # sum of distances, and number of frames

    @torch.inference_mode()
    def update(self, sample: FrameSample) -> None:
        """Add frames; ignored without ground truth or network."""
        if self.network is None or sample.truth is None:
            return
        images = to_planes(resize_faces(torch.cat([sample.faces, sample.truth]), INPUT_SIZE)).to(self.device)
        maps = run_network(self.network, images, FLAG, f"heat maps (N, {NUM_LANDMARKS}, h, w)", 4)
        generated, truth = np.split(decode_heatmaps(maps[:, MOUTH]), 2)
        height, width = sample.faces.shape[1:3]
        difference = (generated - truth) * np.array([1.0, height / width])  # both as fractions of the box's width
        self.sums[0] += float(np.hypot(difference[..., 0], difference[..., 1]).mean(axis=1).sum())
        self.sums[1] += len(sample.faces)

    def compute(self) -> Scores:
        """Return the mean over the frames with ground truth."""
        if self.network is None:
            return not_computed(METRICS, NO_NETWORK)
        distance, frames = self.sums.tolist()
        if not frames:
            return not_computed(METRICS, NO_TRUTH)
        return Scores({"lmd": 100 * distance / frames})
