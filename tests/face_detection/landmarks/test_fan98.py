"""Landmarks of FAN-98."""

import numpy as np
import pytest
import torch

from face_detection.landmarks.fan98 import FAN98Landmarker, decode_heatmaps, to_68_points
from tests.helpers.goldens import tensor
from tests.helpers.sadtalker import golden, load


def test_decoder_matches_golden():
    maps = tensor(200061, (1, 98, 64, 64))[0].numpy()
    np.testing.assert_array_equal(decode_heatmaps(maps, "public"), golden("landmark_fan98")["points_from_maps"][0])


def test_points_are_converted_as_in_golden():
    cases = golden("landmark_fan98")
    np.testing.assert_array_equal(to_68_points(cases["points98"]), cases["points68"])


@pytest.mark.slow
def test_landmarks_of_a_picture_match_golden():
    picture = np.floor(tensor(200060, (120, 100, 3), 0, 256).numpy()).astype(np.uint8)
    landmarks = FAN98Landmarker(load("landmark_fan98"), torch.device("cpu"), "public")
    (points,) = landmarks.locate([picture], [(0, 0, 100, 120)])
    np.testing.assert_allclose(points, golden("landmark_fan98")["points68"], atol=1e-3)


def peak(x, y, towards):
    maps = np.zeros((98, 64, 64), np.float32)
    maps[:, y, x] = 1
    for column, row in towards:
        maps[:, row, column] = 0.5
    return maps


def test_maximum_is_shifted_towards_its_higher_neighbors():
    np.testing.assert_array_equal(decode_heatmaps(peak(10, 20, [(11, 20), (10, 19)]))[0], [10.75, 20.25])


def test_no_shift_across_an_edge():
    maps = peak(63, 63, [(62, 63)])
    np.testing.assert_array_equal(decode_heatmaps(maps)[0], [63.5, 63.5])
    assert np.isfinite(decode_heatmaps(maps, "public")).all()


def test_box_is_read_inside_the_image():
    class Center(torch.nn.Module):
        def forward(self, face):
            assert face.shape == (1, 3, 256, 256)
            return (torch.from_numpy(peak(31, 31, [(32, 31), (31, 32)]))[None],)

    landmarker = FAN98Landmarker(Center(), torch.device("cpu"))
    (points,) = landmarker.locate([np.zeros((100, 200, 3), np.uint8)], [(-20, 10.7, 60, 150)])
    np.testing.assert_allclose(points, np.full((68, 2), [31.75 / 64 * 60, 10 + 31.75 / 64 * 90]), rtol=1e-6)
