"""Head angles given by the user."""

import numpy as np
import pytest

from tests.helpers.sadtalker import golden
from wav2lip.sadtalker.motion.free_view import head_angles


@pytest.mark.parametrize(
    ("name", "degrees", "frames"),
    [("a", [-20, 30, 10], 50), ("b", [15], 7), ("c", [0, 45], 25), ("d", [10, -10, 10, 0], 33)],
)
def test_public_angles_match_golden(name, degrees, frames):
    expected = golden("geometry")[f"camera_{name}"].ravel()[:frames]
    np.testing.assert_allclose(head_angles(degrees, frames, "public"), expected, atol=1e-9)


def test_angles_reach_every_value_at_constant_speed():
    np.testing.assert_allclose(head_angles([0, 10, -10], 7), [0, 5, 10, 5, 0, -5, -10])


@pytest.mark.parametrize("compat", ["none", "public"])
def test_equal_neighbors_and_short_clips_work(compat):
    assert head_angles([5, 5], 3, compat).tolist() == [5, 5, 5]
    assert head_angles([5, 9], 1, compat).tolist() == [5]
    assert len(head_angles([0, 0, 30, 30, -5], 40, compat)) == 40
