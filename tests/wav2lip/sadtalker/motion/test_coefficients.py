"""Coefficients of a clip: expression, pose, scales, reference motion, loops."""

import numpy as np
import pytest

from tests.helpers.talking_head import TinyHeadNetworks
from wav2lip.sadtalker.motion.coefficients import (
    MotionSettings,
    ReferenceMotion,
    finish_coefficients,
    predict_coefficients,
)
from wav2lip.sadtalker.options import MotionOptions
from wav2lip.sadtalker.speech import SpeechMel, silent_speech

SOURCE = np.arange(73, dtype=np.float32) / 100
SPEECH = SpeechMel(np.random.default_rng(0).uniform(-4, 4, (80, 320)).astype(np.float32), 100, 4.0)
POSE = slice(64, 70)


def predict(speech=SPEECH, reference=None, loop=False, with_crop=False, **options):
    settings = MotionSettings(MotionOptions(**options), loop=loop, with_crop=with_crop)
    return predict_coefficients(TinyHeadNetworks(), SOURCE, speech, settings, reference or ReferenceMotion())


def test_columns():
    assert predict().shape == (100, 70)
    full = predict(with_crop=True)
    assert full.shape == (100, 73)
    np.testing.assert_array_equal(full[:, 70:], np.broadcast_to(SOURCE[70:], (100, 3)))


def test_still_keeps_the_pose_of_the_photo_and_the_expression():
    still, moving = predict(still=True), predict()
    np.testing.assert_array_equal(still[:, POSE], np.broadcast_to(SOURCE[POSE], (100, 6)))
    np.testing.assert_array_equal(still[:, :64], moving[:, :64])
    assert np.ptp(moving[:, POSE], axis=0).min() > 0


def test_scales():
    target = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32)
    settings = MotionSettings(MotionOptions(expression_scale=1.5, head_motion_scale=0.5))
    finished = finish_coefficients(target, SOURCE, settings)
    np.testing.assert_allclose(finished[:, :64], target[:, :64] * 1.5, rtol=1e-6)
    np.testing.assert_allclose(finished[:, POSE], (target[:, POSE] + SOURCE[POSE]) / 2, atol=1e-6)


def test_blinks_are_seeded_and_can_be_disabled():
    first, again, other = predict(seed=1), predict(seed=1), predict(seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    blinking, off = predict(still=True)[:, 0], predict(still=True, blink="off")[:, 0]
    assert np.max(blinking - off) == pytest.approx(1, abs=1e-5)


def test_eyes_of_a_reference_video_replace_those_of_the_photo():
    eyes = np.zeros((30, 73), np.float32)
    eyes[:, :64] = np.arange(30)[:, None]
    closed = predict(reference=ReferenceMotion(eyes=eyes), still=True)
    without = predict(reference=ReferenceMotion(eyes=np.zeros((30, 73), np.float32)), still=True)
    expected = 0.1 * (np.arange(100) % 30)  # repeated from its start; `TinyHeadNetworks` uses a tenth
    np.testing.assert_allclose((closed - without)[:, 5], expected, atol=1e-5)


def test_pose_of_a_reference_video_is_added():
    pose = np.zeros((40, 73), np.float32)
    pose[:, POSE] = 3 + np.arange(40)[:, None] / 10
    difference = predict(reference=ReferenceMotion(pose=pose)) - predict()
    np.testing.assert_allclose(difference[:, 66], np.arange(100) % 40 / 10, atol=1e-5)


def test_all_motion_of_a_reference_video_starts_at_the_pose_of_the_photo():
    everything = np.random.default_rng(0).normal(size=(120, 73)).astype(np.float32)
    target = predict(reference=ReferenceMotion(everything=everything))
    np.testing.assert_allclose(target[:, :64], everything[:100, :64])
    np.testing.assert_allclose(
        target[:, POSE] - target[0, POSE], everything[:100, POSE] - everything[0, POSE], atol=1e-5
    )
    np.testing.assert_allclose(target[0, POSE], SOURCE[POSE], atol=1e-5)


def test_idle_motion_loops():
    looped = predict(speech=silent_speech(3.0), loop=True)
    steps = np.abs(np.diff(looped[:, POSE], axis=0)).max(axis=1)
    assert np.abs(looped[0, POSE] - looped[-1, POSE]).max() < 2 * max(np.median(steps), 1e-3)
    assert steps.max() > 0  # the head moves


@pytest.mark.parametrize("compat", ["none", "public"])
def test_every_length_works(compat):
    for frames in range(1, 41):
        speech = SpeechMel(SPEECH.mel[:, : 4 * frames], frames, frames / 25)
        for loop in (False, True):
            settings = MotionSettings(MotionOptions(), compat, loop)
            values = predict_coefficients(TinyHeadNetworks(), SOURCE, speech, settings)
            assert values.shape == (frames, 70) and np.isfinite(values).all()
