"""PSNR and SSIM are what scikit-image and the formulas say."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wav2lip.image_metrics import lower_halves, psnr, ssim


@pytest.fixture
def pairs(portrait):
    """Three pictures (48, 96, 3) of the portrait and what noise, a blur and a shade make of them, in [0, 1]."""
    rng = np.random.default_rng(0)
    truth = np.stack([portrait[y : y + 48, y : y + 96] / 255 for y in (40, 100, 160)])
    noisy = truth[0] + rng.normal(0, 0.1, truth[0].shape)
    blurred = (truth[1] + np.roll(truth[1], 2, 0) + np.roll(truth[1], 2, 1)) / 3
    return np.stack([noisy, blurred, 0.7 * truth[2]]).clip(0, 1), truth


def planes(pictures):
    return torch.from_numpy(pictures).movedim(-1, 1)


def test_ssim_is_that_of_scikit_image(pairs):
    made, truth = pairs
    expected = [
        structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
                              channel_axis=2)
        for a, b in zip(made, truth, strict=True)
    ]  # fmt: skip
    assert max(expected) < 0.95
    assert ssim(planes(made), planes(truth)).tolist() == pytest.approx(expected, abs=1e-9)
    assert ssim(planes(made).float(), planes(truth).float()).tolist() == pytest.approx(expected, abs=1e-5)


def test_psnr_is_that_of_scikit_image(pairs):
    made, truth = pairs
    expected = [peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in zip(made, truth, strict=True)]
    assert psnr(planes(made), planes(truth)).tolist() == pytest.approx(expected)


def test_psnr_of_an_error_of_a_tenth_everywhere_is_20_decibels():
    truth = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(truth + 0.1, truth).item() == pytest.approx(20, abs=1e-4)


def test_equal_pictures_are_wholly_alike_and_free_of_noise(pairs):
    truth = planes(pairs[1])
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1, 1])
    assert psnr(truth, truth).tolist() == [float("inf")] * 3


def test_pictures_in_16_bits_are_judged_in_32(pairs):
    truth = planes(pairs[1]).bfloat16()
    assert ssim(truth, truth).dtype == torch.float32
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_lower_halves_are_those_of_every_frame():
    frames = torch.arange(2 * 3 * 5 * 4 * 2).view(2, 3, 5, 4, 2)
    halves = lower_halves(frames)
    assert halves.shape == (10, 3, 2, 2)
    assert torch.equal(halves[5 + 2], frames[1, :, 2, 2:])
