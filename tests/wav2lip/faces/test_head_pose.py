"""Head angles of projected heads with known rotations."""

import numpy as np
import pytest

from wav2lip.faces.head_pose import HEAD_POINTS, head_angles


def turned(yaw, pitch):
    """Landmarks of the average head, turned and then nodded, in parallel projection."""
    y, p = np.radians([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return (HEAD_POINTS @ (nod @ turn).T)[:, :2] * 3 + (200, 150)


@pytest.mark.parametrize("yaw", [0, 20, -45, 60, 75])
def test_yaw_of_a_turned_head(yaw):
    angles = head_angles(turned(yaw, 0))
    assert angles == pytest.approx((abs(yaw), 0), abs=1)


@pytest.mark.parametrize("pitch", [20, -30, 50])
def test_pitch_of_a_nodding_head(pitch):
    assert head_angles(turned(0, pitch)) == pytest.approx((0, abs(pitch)), abs=1.5)


def test_points_without_extent_have_no_angles():
    assert head_angles(np.full((5, 2), 7.0)) is None
    assert head_angles(np.full((5, 2), np.nan)) is None
