"""The face to animate: which one, where, and faces that cannot be used."""

import cv2
import numpy as np
import pytest

from face_detection import Face, build_detector
from tests.helpers.lipsync import MemorySource
from wav2lip.engine.inputs import ArraySource
from wav2lip.errors import InputError
from wav2lip.sadtalker.options import SadTalkerOptions
from wav2lip.sadtalker.source.portrait import Portrait, PortraitFinder, check_face

GRAY = np.full((120, 160, 3), 120, np.uint8)
SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])  # of the box


class DrawnFaces:
    """A detector of white rectangles, left to right."""

    name = "drawn"

    def detect(self, frames):
        return [list(self._faces(frame)) for frame in frames]

    def _faces(self, frame):
        count, _, stats, _ = cv2.connectedComponentsWithStats((frame[..., 0] == 255).astype(np.uint8))
        for x, y, width, height, _ in stats[1:count]:
            points = SHAPE * (width, height) + (x, y)
            yield Face((x, y, x + width, y + height), 0.9, tuple(map(tuple, points)))


def draw(*boxes):
    frame = GRAY.copy()
    for left, top, right, bottom in boxes:
        frame[top:bottom, left:right] = 255
    return frame


def find(source, **options):
    finder = PortraitFinder(DrawnFaces(), None)
    if isinstance(source, np.ndarray):
        source = ArraySource(source)
    return finder(source, SadTalkerOptions(**options))


TWO = draw((10, 10, 40, 50), (90, 10, 150, 90))


@pytest.mark.parametrize(
    ("options", "left"),
    [({}, 90), ({"faces": "leftmost"}, 10), ({"faces": "1"}, 90), ({"face_at": (0, 20, 30)}, 10)],
)
def test_face_is_selected_as_in_lip_sync(options, left):
    assert find(TWO, **options).box[0] == left


def test_first_frame_with_the_face_is_used():
    frames = [GRAY] * 5 + [draw((10, 10, 40, 50))] * 5 + [TWO]
    assert find(MemorySource(frames)).box == (10, 10, 40, 50)
    assert find(MemorySource(frames), faces="1").box == (90, 10, 150, 90)


def test_landmarks_are_in_pixels_of_the_photo():
    np.testing.assert_allclose(find(TWO).landmarks, SHAPE * (60, 80) + (90, 10), atol=1e-4)


def test_landmarks_of_a_small_face_are_detected_at_full_resolution(portrait):
    photo = np.full((900, 1200, 3), 120, np.uint8)
    photo[500:756, 100:356] = portrait
    small = PortraitFinder(build_detector("mtcnn"), None)(ArraySource(photo), SadTalkerOptions())
    alone = PortraitFinder(build_detector("mtcnn"), None)(ArraySource(portrait), SadTalkerOptions())
    np.testing.assert_allclose(small.landmarks, alone.landmarks + np.float32([100, 500]), atol=2)


@pytest.mark.parametrize(
    ("photo", "options", "reason"),
    [
        (GRAY, {}, "no face found in it; use a photo .*--points FILE"),
        (TWO, {"faces": "2"}, "has 2 faces, none of which"),
    ],
)
def test_missing_face_is_reported(photo, options, reason):
    with pytest.raises(InputError, match=reason):
        find(photo, **options)


def test_detector_without_landmarks_is_reported():
    detector = DrawnFaces()
    detector._faces = lambda frame: [Face((10, 10, 40, 50), 0.9)]
    with pytest.raises(InputError, match="the detector drawn finds no landmarks; use --detector mtcnn"):
        PortraitFinder(detector, None)(ArraySource(TWO), SadTalkerOptions())


@pytest.mark.parametrize(
    ("box", "reason"),
    [((60, 30, 75, 50), "too small, its crop has 29 pixels"), ((-40, 20, 40, 110), "cut by the edge.*nose or mouth"),
     ((50, 30, 110, 260), "cut by the edge"), ((-60, -40, 220, 150), "cut by the edge of the photo, only .* of its")],
)  # fmt: skip
def test_unusable_faces_are_reported(box, reason):
    left, top, right, bottom = box
    landmarks = (SHAPE * (right - left, bottom - top) + (left, top)).astype(np.float32)
    with pytest.raises(InputError, match=reason):
        check_face(Portrait(GRAY, landmarks), "photo.png")


def test_usable_face_passes():
    check_face(find(TWO), "photo.png")
