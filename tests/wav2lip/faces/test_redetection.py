"""Detection of a known face in its surroundings."""

import numpy as np
import pytest

from face_detection import Face
from wav2lip.faces.redetection import redetect_face

FRAME = np.zeros((100, 200, 3), np.uint8)


class FixedFaces:
    """A detector that returns the given faces."""

    name = "fixed"

    def __init__(self, *faces):
        self.faces, self.shapes = faces, []

    def detect(self, frames):
        self.shapes += [frame.shape[:2] for frame in frames]
        return [list(self.faces) for _ in frames]


def test_face_is_returned_in_pixels_of_the_frame():
    detector = FixedFaces(Face((40, 38, 82, 90), 0.9, ((50.0, 60.0),)), Face((40, 38, 82, 90), 0.8))
    face = redetect_face(detector, FRAME, np.array([100, 40, 140, 80]))
    assert detector.shapes == [(100, 120)]  # 40 pixels around the box, cut by the bottom of the frame
    assert face == Face((100, 38, 142, 90), 0.9, ((110.0, 60.0),))


@pytest.mark.parametrize("faces", [(), (Face((0, 0, 30, 30), 0.9),)])
def test_other_faces_are_ignored(faces):
    assert redetect_face(FixedFaces(*faces), FRAME, np.array([100, 40, 140, 80])) is None
