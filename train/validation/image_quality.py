"""Image quality of generated validation frames, by the metrics of wav2lip.evaluate.

Frames are truncated to 8 bits first, as in a video, so that the same frames have the same scores in both. The five
frames of a window count as a video of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from train.distributed import all_reduce_sum
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics import BY_NAME, Scores
from wav2lip.evaluation.metrics.base import FrameMetric, FrameSample
from wav2lip.evaluation.metrics.fidelity import Fidelity
from wav2lip.evaluation.metrics.frechet import (
    WEIGHTS_FILE,
    FaceFeatures,
    FeatureExtractor,
    FeatureStatistics,
    frechet_distance,
    inception_features,
    torchscript_features,
)
from wav2lip.evaluation.metrics.perceptual import LPIPS, PerceptualDistance
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.evaluation.metrics.temporal import TemporalStability
from wav2lip.faces.tensors import from_network
from wav2lip.types import PathType

DEFAULT_METRICS = ("psnr_mouth", "ssim_mouth", "sharpness", "flicker")  # computed without any network
BETTER = {name: BY_NAME[name].better for name in DEFAULT_METRICS}
REQUIRED_KEYS = {  # config keys of the metrics that need weights
    "lpips": "lpips_backbone=FILE (alexnet-owt-7be5be79.pth of torchvision) lpips_weights=FILE (lpips/weights/v0.1/"
    "alex.pth of the package lpips)",
    "fid": f"fid_weights=FILE ({WEIGHTS_FILE}; needs pip install wav2lip-toolkit[evaluation]), or fid_network=FILE",
}


@dataclass(frozen=True)
class QualityNetworks:
    """Networks that score frames; None without weights."""

    lpips: LPIPS | None = None
    fid: FeatureExtractor | None = None

    @classmethod
    def from_files(
        cls, device: torch.device, *, lpips_backbone: PathType | None, lpips_weights: PathType | None,
        fid_weights: PathType | None, fid_network: PathType | None,
    ) -> QualityNetworks:  # fmt: skip
        """Load the networks whose files are set.

        Raises: InputError for a file that cannot be used, and for one of LPIPS's two files without the other.
        """
        if (lpips_backbone is None) != (lpips_weights is None):
            raise InputError(
                f"lpips_backbone={lpips_backbone}, lpips_weights={lpips_weights}: must be set together; set both"
            )
        lpips = fid = None
        if lpips_backbone is not None and lpips_weights is not None:
            lpips = LPIPS.from_files(lpips_backbone, lpips_weights).to(device)
        if fid_network is not None:
            fid = torchscript_features(fid_network, device)
        elif fid_weights is not None:
            fid = inception_features(fid_weights, device)
        return cls(lpips, fid)

    @property
    def better(self) -> dict[str, str]:
        """Direction of every metric that is computed."""
        networks = {"lpips": self.lpips, "fid": self.fid}
        return BETTER | {name: BY_NAME[name].better for name, network in networks.items() if network is not None}

    def check(self, metric: str) -> None:
        """Raise InputError if the monitored metric is not computed because its weights are not set."""
        if metric in REQUIRED_KEYS and metric not in self.better:
            raise InputError(
                f"monitor_metric={metric}: is not computed without weights; add {REQUIRED_KEYS[metric]}, or monitor "
                "another metric"
            )


class ImageQualityMeter:
    """Accumulates the frames of one validation in one process."""

    def __init__(self, networks: QualityNetworks):
        self._on_device: list[FrameMetric] = [Fidelity(mouth_only=True)]
        if networks.lpips is not None:
            self._on_device.append(PerceptualDistance(networks.lpips))
        self._sharpness, self._flicker, self._flicker_of_truth = Sharpness(), TemporalStability(), TemporalStability()
        self._fid = [FaceFeatures(networks.fid) for _ in range(2)] if networks.fid else []

    def update(self, generated: Tensor, target: Tensor) -> None:
        """Add generated and true frames, (B, 3, T, H, W) BGR in [0, 1] each."""
        frames, truth = (from_network(window.transpose(1, 2)) for window in (generated, target))  # (B, T, H, W, 3)
        for metric in self._on_device:
            metric.update(_all_frames(frames, truth))
        frames, truth = frames.cpu(), truth.cpu()
        self._sharpness.update(_all_frames(frames, truth))
        self._flicker.update(_with_previous(frames))
        self._flicker_of_truth.update(_with_previous(truth))
        for features, images in zip(self._fid, (frames, truth), strict=False):
            features.update(FrameSample(0, images.flatten(0, 1)))

    def compute(self, fabric: Fabric) -> dict[str, float]:
        """Return the scores of the frames of all processes; every process must call it."""
        results = Scores()
        for metric in (*self._on_device, self._sharpness, self._flicker):
            results |= self._compute_metric(fabric, metric)
        names = [name for name in (*DEFAULT_METRICS, "lpips") if name in results.values or name in results.missing]
        scores = {name: results.values.get(name, float("nan")) for name in names}
        scores["flicker_of_truth"] = self._compute_metric(fabric, self._flicker_of_truth).values["flicker"]
        if self._fid:
            generated, real = (_statistics(fabric, features.compute()) for features in self._fid)
            scores["fid"] = frechet_distance(generated, real)
        return scores

    @staticmethod
    def _compute_metric(fabric: Fabric, metric: FrameMetric) -> Scores:
        metric.sums = all_reduce_sum(fabric, metric.sums)
        return metric.compute()


def _all_frames(frames: Tensor, truth: Tensor) -> FrameSample:
    truth = truth.flatten(0, 1)
    return FrameSample(0, frames.flatten(0, 1), truth=truth, source=truth)


def _with_previous(frames: Tensor) -> FrameSample:
    """Return the frames (B, T, H, W, 3) that have two before them."""
    return FrameSample(0, frames[:, 2:].flatten(0, 1), (frames[:, 1:-1].flatten(0, 1), frames[:, :-2].flatten(0, 1)))


def _statistics(fabric: Fabric, features: np.ndarray) -> FeatureStatistics:
    """Return the statistics of the features (N, D) of all processes."""
    statistics = FeatureStatistics.from_batches([features])
    assert statistics is not None  # every process has windows
    if fabric.world_size == 1:
        return statistics
    arrays = (np.array([float(statistics.count)]), statistics.total, statistics.products.ravel())
    count, total, products = (all_reduce_sum(fabric, torch.from_numpy(array)).numpy() for array in arrays)
    return FeatureStatistics(int(count[0]), total, products.reshape(statistics.products.shape))
