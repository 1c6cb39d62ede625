"""Regions of interest around faces."""

import numpy as np
import pytest

from face_detection.interface import Face
from face_detection.tracking.roi import CANVAS_SIZE, DetectionROI
from tests.helpers.faces import HEIGHT, WIDTH, draw_faces


@pytest.mark.parametrize("box", [[-30, -40, 10, 5], [300, 200, 340, 250], [0, 0, 320, 240], [5, 5, 6, 6]])
def test_roi_is_inside_the_frame_and_covers_its_face(box):
    for finer in (False, True):
        roi = DetectionROI.around(np.array(box, float), HEIGHT, WIDTH, finer=finer)
        assert 0 <= roi.left <= WIDTH - roi.side and 0 <= roi.top <= HEIGHT - roi.side
        assert roi.covers(DetectionROI.around(np.array(box, float), HEIGHT, WIDTH))
        assert roi.crop(draw_faces()).shape == (roi.canvas, roi.canvas, 3)
        assert 0.95 * CANVAS_SIZE <= roi.canvas <= 1.1 * CANVAS_SIZE


def test_to_frame_drops_faces_that_may_be_cut_off():
    roi = DetectionROI.around(np.array([100.0, 100, 140, 150]), HEIGHT, WIDTH)
    scale = roi.canvas / roi.side
    face = Face((0.0, 60.0, 40 * scale, 60 + 50 * scale), 0.9)
    assert roi.to_frame([face], HEIGHT, WIDTH) == []
