"""Landmark distance of spots at known positions."""

import numpy as np
import pytest

from tests.helpers.metrics import BrightnessHeatmaps, compute_scores
from wav2lip.evaluation.metrics.landmarks import LandmarkDistance


def draw_spot(x: int, y: int) -> np.ndarray:
    face = np.zeros((64, 128, 3), np.uint8)
    face[y - 1 : y + 2, x - 1 : x + 2] = 100
    face[y, x] = 255
    return face


def test_lmd_is_in_percent_of_the_box_width():
    faces, truth = [draw_spot(30, 20)] * 3, [draw_spot(33, 24)] * 3
    values = compute_scores(LandmarkDistance(BrightnessHeatmaps()), faces, truth).values["lmd"]
    assert values == pytest.approx(100 * np.hypot(3, 4) / 128, rel=0.05)
    assert compute_scores(LandmarkDistance(BrightnessHeatmaps()), faces, faces).values["lmd"] == 0
    assert "--landmark_network" in compute_scores(LandmarkDistance(None), faces, faces).missing["lmd"]
