"""PSNR and SSIM of videos: perfect for equal ones, falling with degradation, equal to scikit-image."""

import numpy as np
import pytest
import skimage.metrics

from tests.helpers.metrics import add_noise, blur, compute_scores
from wav2lip.evaluation.metrics.fidelity import Fidelity


def test_fidelity_is_perfect_for_equal_videos(faces):
    values = compute_scores(Fidelity(), faces, faces).values
    assert values == {"psnr": np.inf, "ssim": 1.0, "psnr_mouth": np.inf, "ssim_mouth": 1.0}


def test_fidelity_equals_scikit_image(faces):
    degraded = [add_noise(blur(face, 1), 4) for face in faces]
    values = compute_scores(Fidelity(), degraded, faces).values
    assert values["psnr"] == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(np.stack(faces), np.stack(degraded)), abs=1e-6
    )
    expected = [
        skimage.metrics.structural_similarity(
            a[50:], b[50:], channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(faces, degraded, strict=True)
    ]
    assert values["ssim_mouth"] == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize("degrade", [blur, add_noise])
def test_fidelity_falls_with_degradation(faces, degrade):
    steps = [compute_scores(Fidelity(), [degrade(f, s) for f in faces], faces).values for s in (0.7, 2, 6)]
    for metric in ("psnr", "ssim", "psnr_mouth", "ssim_mouth"):
        values = [step[metric] for step in steps]
        assert values == sorted(values, reverse=True)


def test_fidelity_requires_ground_truth(faces):
    values = compute_scores(Fidelity(), faces)
    assert not values.values
    assert all("give one" in reason for reason in values.missing.values())
