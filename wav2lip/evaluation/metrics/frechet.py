"""Fréchet inception distance (FID) of the faces of two sets of videos."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.base import LOWER, FrameSample, Metric, resize_faces
from wav2lip.evaluation.metrics.torchscript import load_torchscript, run_network
from wav2lip.types import PathType

FACE_SIZE = 299  # pixels: input of Inception
BATCH_FACES = 16
FLAG = "--fid_network"
WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d.pth"  # file published by torch-fidelity and pytorch-fid
METRIC = Metric(
    "fid", LOWER, "0 to infinity; 0 for the same faces", "",
    "|m - n|² + tr(A + B - 2 (A B)^½), m, n, A, B means and covariances of the features of all face boxes of all "
    "frames, generated and real, resized to 299 x 299", "Heusel et al. 2017; features: Inception of 2015",
    f"real videos; the extra `evaluation` and --fid_weights ({WEIGHTS_FILE}), or {FLAG} (TorchScript)",
)  # fmt: skip
NO_NETWORK = (
    f"no feature network: pip install wav2lip-toolkit[evaluation] and set --fid_weights FILE ({WEIGHTS_FILE}), "
    f"or set {FLAG} FILE"
)

FeatureExtractor = Callable[[Tensor], Tensor]  # (N, 3, 299, 299) uint8 RGB -> (N, D) float


@dataclass
class FeatureStatistics:
    """Moments of features, accumulated in batches; memory is D x D."""

    count: int
    total: np.ndarray  # (D,) float64
    products: np.ndarray  # (D, D) float64

    @classmethod
    def from_batches(cls, batches: Iterable[np.ndarray]) -> FeatureStatistics | None:
        """Accumulate batches (N, D); return None without any row."""
        statistics = None
        for batch in batches:
            vectors = batch.astype(np.float64)
            if statistics is None:
                dims = vectors.shape[1]
                statistics = cls(0, np.zeros(dims), np.zeros((dims, dims)))
            statistics.count += len(vectors)
            statistics.total += vectors.sum(axis=0)
            statistics.products += vectors.T @ vectors
        return statistics if statistics and statistics.count else None

    @property
    def mean(self) -> np.ndarray:
        """Mean of the features, (D,)."""
        return self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the features, (D, D), normalized by count - 1."""
        return (self.products - self.count * np.outer(self.mean, self.mean)) / max(1, self.count - 1)


def frechet_distance(generated: FeatureStatistics, real: FeatureStatistics) -> float:
    """Return the squared Fréchet distance of two normal distributions (Dowson and Landau 1982), at least 0.

    The trace of the root of A B is the sum of the roots of the eigenvalues of A^½ B A^½, which is symmetric.
    """
    values, vectors = np.linalg.eigh(generated.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    common = np.sqrt(np.linalg.eigvalsh(root @ real.covariance @ root).clip(min=0)).sum()
    means = np.square(generated.mean - real.mean).sum()
    return max(0.0, float(means + np.trace(generated.covariance) + np.trace(real.covariance) - 2 * common))


class FaceFeatures:
    """Features of the faces of one video; the score is computed over all videos of a system."""

    def __init__(self, extractor: FeatureExtractor):
        self.extractor = extractor
        self._pending: list[Tensor] = []  # (N, 299, 299, 3) each
        self._features: list[np.ndarray] = []

    def update(self, sample: FrameSample) -> None:
        """Add frames."""
        self._pending.append(resize_faces(sample.faces, FACE_SIZE))
        if sum(map(len, self._pending)) >= BATCH_FACES:
            self._extract()

    def compute(self) -> np.ndarray:
        """Return the features, (N, D) float32, a row for each face."""
        if self._pending:
            self._extract()
        return np.concatenate(self._features) if self._features else np.zeros((0, 0), np.float32)

    @torch.inference_mode()
    def _extract(self) -> None:
        images = torch.cat(self._pending).movedim(-1, 1)
        self._features += [
            self.extractor(batch).cpu().numpy().astype(np.float32) for batch in images.split(BATCH_FACES)
        ]
        self._pending = []


def torchscript_features(path: PathType, device: torch.device | str) -> FeatureExtractor:
    """Load a TorchScript network that accepts (N, 3, 299, 299) uint8 RGB."""
    network = load_torchscript(path, FLAG, device)
    return lambda images: run_network(network, images.to(device), FLAG, "(N, D)", 2)


def inception_features(weights: PathType, device: torch.device | str) -> FeatureExtractor:
    """Load the Inception network that defines FID, from torch-fidelity; the weights are never downloaded here.

    Raises: InputError if the extra or the file is missing.
    """
    if find_spec("torch_fidelity") is None:
        raise InputError("--fid_weights: torch-fidelity is not installed; pip install wav2lip-toolkit[evaluation]")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if not Path(weights).is_file():
        raise InputError(f"{weights}: no such file; download {WEIGHTS_FILE} from the releases of torch-fidelity")
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights}: not the weights of Inception; download {WEIGHTS_FILE} again") from error
    network = network.to(device).eval()
    return lambda images: network(images.to(device))[0]
