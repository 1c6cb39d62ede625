"""PSNR and SSIM equal scikit-image and the formulas."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wav2lip.evaluation.metrics.image import lower_halves, psnr_from_errors, ssim


@pytest.fixture
def pairs(portrait):
    """Three images (48, 96, 3) of the portrait with noise, blur and darkening, and the originals, in [0, 1]."""
    rng = np.random.default_rng(0)
    truth = np.stack([portrait[y : y + 48, y : y + 96] / 255 for y in (40, 100, 160)])
    noisy = truth[0] + rng.normal(0, 0.1, truth[0].shape)
    blurred = (truth[1] + np.roll(truth[1], 2, 0) + np.roll(truth[1], 2, 1)) / 3
    return np.stack([noisy, blurred, 0.7 * truth[2]]).clip(0, 1), truth


def planes(images):
    return torch.from_numpy(images).movedim(-1, 1)


def test_ssim_equals_scikit_image(pairs):
    images, truth = pairs
    expected = [
        structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
                              channel_axis=2)
        for a, b in zip(images, truth, strict=True)
    ]  # fmt: skip
    assert max(expected) < 0.95
    assert ssim(planes(images), planes(truth)).tolist() == pytest.approx(expected, abs=1e-9)
    assert ssim(planes(images).float(), planes(truth).float()).tolist() == pytest.approx(expected, abs=1e-5)


def test_psnr_equals_scikit_image(pairs):
    images, truth = ((255 * values).astype(np.uint8) for values in pairs)
    squares = ((images.astype(int) - truth) ** 2).sum(axis=(1, 2, 3))
    expected = [peak_signal_noise_ratio(b, a) for a, b in zip(images, truth, strict=True)]
    assert psnr_from_errors(squares, images[0].size).tolist() == pytest.approx(expected)


def test_psnr_of_a_tenth_of_the_range_is_20_decibels():
    assert psnr_from_errors(25.5**2, 1) == pytest.approx(20)


def test_equal_images_are_perfect(pairs):
    truth = planes(pairs[1])
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1, 1])
    assert psnr_from_errors(0, 100) == float("inf")


def test_half_precision_is_computed_in_float32(pairs):
    truth = planes(pairs[1]).bfloat16()
    assert ssim(truth, truth).dtype == torch.float32
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_lower_halves_of_every_frame():
    frames = torch.arange(2 * 3 * 5 * 4 * 2).view(2, 3, 5, 4, 2)
    halves = lower_halves(frames)
    assert halves.shape == (10, 3, 2, 2)
    assert torch.equal(halves[5 + 2], frames[1, :, 2, 2:])
