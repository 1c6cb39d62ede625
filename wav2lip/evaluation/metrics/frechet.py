"""FID: how far apart the faces of two sets of videos lie as clouds of features."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wav2lip.crops import resize
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.look import Look
from wav2lip.evaluation.metrics.metric import LOWER, Metric
from wav2lip.evaluation.metrics.scripted import asked, load_scripted

SIDE = 299  # pixels: Inception's
BATCH = 16  # faces
FLAG = "--fid_network"
WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"  # as torch-fidelity and pytorch-fid publish them
METRIC = Metric(
    "fid", LOWER, "0 to infinity; 0 for the same faces", "",
    "|m - n|² + tr(A + B - 2 (A B)^½), m, n, A, B means and covariances of the features of all face boxes of all "
    "frames, made and real, resized to 299 x 299", "Heusel et al. 2017; features: Inception of 2015",
    f"real videos; the extra `evaluation` and --fid_weights ({WEIGHTS}), or {FLAG} (TorchScript)",
)  # fmt: skip
NO_NETWORK = (
    f"no feature network: pip install wav2lip-toolkit[evaluation] and give --fid_weights FILE ({WEIGHTS}), "
    f"or give {FLAG} FILE"
)

Features = Callable[[Tensor], Tensor]  # (N, 3, 299, 299) uint8 RGB -> (N, D) float


@dataclass
class Cloud:
    """Mean and covariance of features that come in batches; memory is D x D."""

    count: int
    total: np.ndarray  # (D,) float64
    products: np.ndarray  # (D, D) float64

    @classmethod
    def of(cls, batches: Iterable[np.ndarray]) -> Cloud | None:
        """batches: (N, D) each. Returns: None if there is no vector at all."""
        cloud = None
        for batch in batches:
            vectors = batch.astype(np.float64)
            if cloud is None:
                dims = vectors.shape[1]
                cloud = cls(0, np.zeros(dims), np.zeros((dims, dims)))
            cloud.count += len(vectors)
            cloud.total += vectors.sum(axis=0)
            cloud.products += vectors.T @ vectors
        return cloud if cloud and cloud.count else None

    @property
    def mean(self) -> np.ndarray:
        """(D,)."""
        return self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), over count - 1."""
        return (self.products - self.count * np.outer(self.mean, self.mean)) / max(1, self.count - 1)


def frechet_distance(made: Cloud, real: Cloud) -> float:
    """The square of Fréchet's distance of two normal distributions (Dowson and Landau 1982); 0 at least.

    The trace of the root of A B is the sum of the roots of the eigenvalues of A^½ B A^½, which is symmetric.
    """
    values, vectors = np.linalg.eigh(made.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    common = np.sqrt(np.linalg.eigvalsh(root @ real.covariance @ root).clip(min=0)).sum()
    apart = np.square(made.mean - real.mean).sum()
    return max(0.0, float(apart + np.trace(made.covariance) + np.trace(real.covariance) - 2 * common))


class FaceFeatures:
    """Takes the frames of one video and keeps the features of its faces; they make no score by themselves."""

    def __init__(self, network: Features):
        self.network = network
        self._waiting: list[np.ndarray] = []
        self._features: list[np.ndarray] = []

    def add(self, look: Look) -> None:
        """The next frame."""
        self._waiting.append(resize(look.face, SIDE, SIDE))
        if len(self._waiting) == BATCH:
            self._extract()

    def found(self) -> np.ndarray:
        """(N, D) float32, a row for each frame with a face."""
        if self._waiting:
            self._extract()
        return np.concatenate(self._features) if self._features else np.zeros((0, 0), np.float32)

    @torch.inference_mode()
    def _extract(self) -> None:
        pictures = torch.from_numpy(np.stack(self._waiting)).movedim(-1, 1)
        self._features.append(self.network(pictures).cpu().numpy().astype(np.float32))
        self._waiting = []


def scripted_features(path: str | PathLike[str], device: torch.device | str) -> Features:
    """A TorchScript network that takes (N, 3, 299, 299) uint8 RGB."""
    network = load_scripted(path, FLAG, device)
    return lambda pictures: asked(network, pictures.to(device), FLAG, "(N, D)", 2)


def inception_features(weights: str | PathLike[str], device: torch.device | str) -> Features:
    """The Inception that FID was defined with, from torch-fidelity; its weights are never downloaded here.

    Raises: InputError if the extra or the file is missing.
    """
    if find_spec("torch_fidelity") is None:
        raise InputError("--fid_weights: torch-fidelity is not installed; pip install wav2lip-toolkit[evaluation]")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if not Path(weights).is_file():
        raise InputError(f"{weights}: no such file; download {WEIGHTS} from the releases of torch-fidelity")
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights}: does not hold Inception's weights; download {WEIGHTS} again") from error
    network = network.to(device).eval()
    return lambda pictures: network(pictures.to(device))[0]
