"""Random blinks."""

import random

import numpy as np
import pytest

from tests.helpers.sadtalker import golden
from wav2lip.sadtalker.motion.blinks import BLINK, draw_blinks


@pytest.mark.parametrize("frames", [24, 60, 200, 500])
def test_blinks_match_golden(frames):
    expected = golden("geometry")[f"blink_seed3_T{frames}"]
    np.testing.assert_allclose(draw_blinks(frames, random.Random(3)), expected, atol=1e-7)


def test_every_length_works_and_blinks_are_complete():
    for frames in range(41):
        closure = draw_blinks(frames, random.Random(frames))
        assert closure.shape == (frames,)
        assert closure.sum() == pytest.approx(sum(BLINK) * np.count_nonzero(closure == 1))
        if frames <= 21:
            assert not closure.any()


def test_pauses_are_within_the_limits():
    closed = np.flatnonzero(draw_blinks(5000, random.Random(0)) == 1)
    pauses = np.diff(closed) - len(BLINK)
    assert pauses.min() >= 10 and pauses.max() < 70 and len(pauses) > 60
