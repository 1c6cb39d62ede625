"""Scores of the demo: each score that shows no learning is one failure."""

import cv2
import numpy as np
import pytest

from wav2lip.demo.scores import CCA, SECOND, TRAINING, DemoScores, VideoScores, fit_ridge
from wav2lip.sync.offset_curve import OffsetCurve


def make_curve(agreement, offset=0):
    similarity = np.full(31, 0.2)
    similarity[15 + offset] = 0.9
    similarity[15] = agreement
    return OffsetCurve(1 - similarity)


def make_scores(training=0.9, second=0.85, offset=0, correlation=0.9, accuracy=0.9):
    def video(own, other, shift=0, opening=1.0):
        curves = {TRAINING: make_curve(own), SECOND: make_curve(other, shift), CCA: make_curve(0.3)}
        return VideoScores(curves, 22.0, 0.7, 0.5, opening)

    videos = {
        "generated": video(training, second, offset, correlation),
        "truth": video(0.95, 0.95),
        "untouched": video(0.4, 0.4),
    }
    experts = {name: {"accuracy": accuracy} for name in ("expert", "second_expert")}
    return DemoScores(videos, experts | {"generator": {}})


def test_failures_is_empty_for_good_scores():
    assert make_scores().failures() == []


@pytest.mark.parametrize(("change", "words"), [
    ({"accuracy": 0.52}, ["accuracy of expert", "accuracy of second_expert"]),
    ({"second": 0.38, "training": 0.5}, ["rates the result 0.38, not above the 0.40"]),
    ({"second": 0.7, "training": 0.95}, ["pleases its expert, not a second one: their ratings are 0.00 and 0.25"]),
    ({"offset": 4}, ["shift of 4 frames"]),
    ({"correlation": 0.1}, ["correlation of 0.10"]),
    ({"correlation": 0.31}, ["correlation of 0.31"]),
    ({"correlation": float("nan")}, ["correlation of nan"]),
])  # fmt: skip
def test_failures_names_each_score_without_learning(change, words):
    failures = make_scores(**change).failures()
    assert len(failures) == len(words)
    assert all(word in failure for word, failure in zip(words, failures, strict=True))


def test_curve_is_read_at_shift_zero_and_at_its_peak():
    curve = make_curve(0.5, offset=-3)
    assert (curve.agreement, curve.offset, curve.confidence) == (pytest.approx(0.5), -3, pytest.approx(0.7))


def test_fit_ridge_predicts_the_opening_of_unseen_mouths():
    rng = np.random.default_rng(0)

    def mouths(openings):
        images = [rng.normal(150, 4, (12, 24)).astype(np.float32) for _ in openings]
        for image, opening in zip(images, openings, strict=True):
            cv2.ellipse(image, (12, 6), (6, round(5 * opening)), 0, 0, 360, 20, -1)
        return np.stack(images).reshape(len(openings), -1) / 255

    known, unseen = rng.uniform(0, 1, 100), rng.uniform(0, 1, 50)
    assert np.corrcoef(fit_ridge(mouths(known), known)(mouths(unseen)), unseen)[0, 1] > 0.95
