"""Scores of offset curves."""

import numpy as np
import pytest

from wav2lip.evaluation.metrics.sync import EXPERT_METRICS, LSE_METRICS, score_curve
from wav2lip.sync.offset_curve import OffsetCurve


def test_score_curve_gives_the_expert_metrics():
    distance = np.full(31, 0.9)
    distance[[13, 15, 20]] = [0.4, 0.8, 0.3]  # shifts -2, 0 and 5
    assert score_curve(OffsetCurve(distance), EXPERT_METRICS).values == {
        "expert_distance": 0.3, "expert_confidence": pytest.approx(0.6), "expert_offset": 5, "expert_within_1": 0,
        "expert_agreement": pytest.approx(0.2),
    }  # fmt: skip
    distance[20], distance[14] = 0.9, 0.2
    assert score_curve(OffsetCurve(distance), EXPERT_METRICS).values["expert_within_1"] == 1


def test_lse_is_the_minimum_and_the_median_less_it():
    distance = np.random.default_rng(0).uniform(6, 9, 31)
    values = score_curve(OffsetCurve(distance), LSE_METRICS).values
    assert values["lse_d"] == pytest.approx(distance.min())
    assert values["lse_c"] == pytest.approx(np.median(distance) - distance.min())
    assert values["lse_offset"] == np.argmin(distance) - 15
    assert "lse_agreement" not in values  # distances of SyncNet v2 have no upper bound
