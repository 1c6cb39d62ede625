"""Sizes of face crops: the interpolation of network inputs and of what a viewer sees."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wav2lip.faces.crops import resample, resize


@pytest.fixture
def face():
    return np.random.default_rng(4).integers(0, 256, (24, 24, 3), np.uint8)


def interpolate(face, width, height, mode):
    image = torch.from_numpy(face).permute(2, 0, 1)[None].float()
    options = {} if mode == "area" else {"align_corners": False}
    return F.interpolate(image, (height, width), mode=mode, **options)[0].permute(1, 2, 0).clamp(0, 255).numpy()


@pytest.mark.parametrize(("width", "height"), [(70, 55), (24, 40), (40, 12)])
def test_resample_enlarges_by_cubic_convolution(face, width, height):
    expected = interpolate(face, width, height, "bicubic")
    np.testing.assert_allclose(resample(face, width, height), expected, atol=1.01)
    assert np.abs(resize(face, width, height) - expected).max() > 10


def test_resample_shrinks_by_area_means(face):
    np.testing.assert_allclose(resample(face, 8, 12), interpolate(face, 8, 12, "area"), atol=0.51)


def test_resample_keeps_a_face_of_the_same_size(face):
    np.testing.assert_array_equal(resample(face, 24, 24), face)


def test_resample_keeps_more_of_a_smooth_pattern_than_bilinear_interpolation():
    def pattern(size):  # a wave of 8 pixels at 48 pixels, sampled at the centers of pixels
        x = (np.arange(size) + 0.5) / size
        wave = np.sin(2 * np.pi * 6 * x)
        return np.rint(127.5 + 100 * np.outer(wave, wave)).astype(np.uint8)

    truth = pattern(144)[6:-6, 6:-6].astype(float)
    errors = {
        function.__name__: np.abs(function(pattern(48), 144, 144)[6:-6, 6:-6] - truth).mean()
        for function in (resample, resize)
    }
    assert errors["resample"] < 0.5 * errors["resize"], errors
