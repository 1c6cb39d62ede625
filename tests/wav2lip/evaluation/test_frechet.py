"""FID is the formula's, whatever comes in however many pieces, and its features can be anybody's."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.frechet import (
    Cloud,
    FaceFeatures,
    frechet_distance,
    inception_features,
    scripted_features,
)
from wav2lip.evaluation.metrics.look import Look


def cloud(vectors: np.ndarray, pieces: int = 3) -> Cloud:
    found = Cloud.of(np.array_split(vectors, pieces))
    assert found is not None
    return found


def test_clouds_have_numpys_mean_and_covariance():
    vectors = np.random.default_rng(0).normal(3, 2, (50, 4))
    np.testing.assert_allclose(cloud(vectors).mean, vectors.mean(axis=0))
    np.testing.assert_allclose(cloud(vectors).covariance, np.cov(vectors, rowvar=False))
    assert Cloud.of([]) is None


def test_the_distance_is_that_of_the_formula_with_scipys_root():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (40, 5)) @ rng.normal(0, 1, (5, 5)), rng.normal(1, 2, (30, 5))
    ours = frechet_distance(cloud(a), cloud(b))
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t).real
    assert ours == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root), rel=1e-8)
    assert frechet_distance(cloud(b), cloud(a)) == pytest.approx(ours)


def test_of_one_dimension_it_is_the_difference_of_means_and_spreads():
    a, b = np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]])  # means 2 and 7, deviations sqrt 2 and sqrt 8
    assert frechet_distance(cloud(a, 1), cloud(b, 1)) == pytest.approx(25 + 2)


def test_equal_sets_are_at_no_distance_with_more_dimensions_than_faces_too():
    vectors = np.random.default_rng(2).normal(0, 1, (10, 64))
    assert frechet_distance(cloud(vectors), cloud(vectors)) == pytest.approx(0, abs=1e-6)


class Corners(nn.Module):
    def forward(self, faces):
        return faces[:, :, 0, 0].float()


def test_features_come_from_a_network_in_a_file_batch_by_batch(tmp_path):
    torch.jit.save(torch.jit.trace(Corners(), torch.zeros(2, 3, 299, 299, dtype=torch.uint8)), tmp_path / "net.pt")
    measure = FaceFeatures(scripted_features(tmp_path / "net.pt", "cpu"))
    for n in range(19):
        measure.add(Look(n, np.full((50, 40, 3), (n, 0, 2 * n), np.uint8)))
    assert measure.found().tolist() == [[n, 0, 2 * n] for n in range(19)]


def test_inceptions_weights_are_never_downloaded(tmp_path):
    pytest.importorskip("torch_fidelity", reason="the extra `evaluation` is not installed")
    with pytest.raises(InputError, match="no such file"):
        inception_features(tmp_path / "none.pth", "cpu")
    (tmp_path / "none.pth").write_text("x")
    with pytest.raises(InputError, match="does not hold Inception's weights"):
        inception_features(tmp_path / "none.pth", "cpu")
