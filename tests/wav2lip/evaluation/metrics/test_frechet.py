"""FID equals the formula for any batches, and its features come from any network."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.base import FrameSample
from wav2lip.evaluation.metrics.frechet import (
    FaceFeatures,
    FeatureStatistics,
    frechet_distance,
    inception_features,
    torchscript_features,
)


def statistics(vectors: np.ndarray, batches: int = 3) -> FeatureStatistics:
    result = FeatureStatistics.from_batches(np.array_split(vectors, batches))
    assert result is not None
    return result


def test_statistics_equal_numpys():
    vectors = np.random.default_rng(0).normal(3, 2, (50, 4))
    np.testing.assert_allclose(statistics(vectors).mean, vectors.mean(axis=0))
    np.testing.assert_allclose(statistics(vectors).covariance, np.cov(vectors, rowvar=False))
    assert FeatureStatistics.from_batches([]) is None


def test_distance_equals_the_formula_with_scipys_root():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (40, 5)) @ rng.normal(0, 1, (5, 5)), rng.normal(1, 2, (30, 5))
    distance = frechet_distance(statistics(a), statistics(b))
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t).real
    assert distance == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root), rel=1e-8)
    assert frechet_distance(statistics(b), statistics(a)) == pytest.approx(distance)


def test_distance_in_one_dimension():
    a, b = np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]])  # means 2 and 7, deviations sqrt 2 and sqrt 8
    assert frechet_distance(statistics(a, 1), statistics(b, 1)) == pytest.approx(25 + 2)


def test_equal_sets_have_no_distance_with_few_faces():
    vectors = np.random.default_rng(2).normal(0, 1, (10, 64))
    assert frechet_distance(statistics(vectors), statistics(vectors)) == pytest.approx(0, abs=1e-6)


class Corners(nn.Module):
    def forward(self, faces):
        return faces[:, :, 0, 0].float()


def test_features_come_from_a_torchscript_file_in_batches(tmp_path):
    torch.jit.save(torch.jit.trace(Corners(), torch.zeros(2, 3, 299, 299, dtype=torch.uint8)), tmp_path / "net.pt")
    features = FaceFeatures(torchscript_features(tmp_path / "net.pt", "cpu"))
    for n in range(19):
        face = np.full((50, 40, 3), (n, 0, 2 * n), np.uint8)
        features.update(FrameSample(n, torch.from_numpy(face)[None]))
    assert features.compute().tolist() == [[n, 0, 2 * n] for n in range(19)]


def test_inception_weights_are_never_downloaded(tmp_path):
    pytest.importorskip("torch_fidelity", reason="the extra `evaluation` is not installed")
    with pytest.raises(InputError, match="no such file"):
        inception_features(tmp_path / "none.pth", "cpu")
    (tmp_path / "none.pth").write_text("x")
    with pytest.raises(InputError, match="not the weights of Inception"):
        inception_features(tmp_path / "none.pth", "cpu")
