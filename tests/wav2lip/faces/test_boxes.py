"""Face boxes."""

import numpy as np
import pytest

from wav2lip.faces.boxes import move_box

BOX = np.array([20.0, 30, 60, 90])


@pytest.mark.parametrize("degrees", [-20, 0, 10, 90])
def test_moved_box_surrounds_the_moved_ellipse(degrees):
    turn, angle = np.linspace(0, 2 * np.pi, 3600), np.deg2rad(degrees)
    rotation = 1.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ellipse = np.column_stack([40 + 20 * np.cos(turn), 60 + 30 * np.sin(turn)]) @ rotation.T + (7, -3)
    moved = move_box(BOX, np.column_stack([rotation, [7, -3]]))
    np.testing.assert_allclose(moved, [*ellipse.min(axis=0), *ellipse.max(axis=0)], atol=1e-3)
