"""Coefficients of a reference video."""

import numpy as np
import pytest

from face_detection import build_detector
from tests.helpers.media import write_video
from wav2lip.errors import InputError
from wav2lip.sadtalker.motion.reference_video import reference_coefficients

GRAY = np.full((128, 128, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def detector():
    return build_detector("mtcnn")


def horizontal_position(image, landmarks):
    """73 numbers, the first of which is the nose's position in the crop."""
    assert image.shape == (64, 64, 3)
    values = np.zeros(73, np.float32)
    values[0] = landmarks[2, 0]
    return values


def read(path, detector, landmarker=None):
    return reference_coefficients(path, "crop", 64, detector, landmarker, horizontal_position)


@pytest.fixture(scope="module")
def small(portrait):
    return np.ascontiguousarray(portrait[40:168, 64:192])


def test_rows_follow_the_face_at_25_fps(tmp_path, detector, small):
    frames = [np.roll(small, shift, axis=1) for shift in range(0, 10)]
    values = read(write_video(tmp_path / "a.mp4", frames, 12.5), detector)
    assert values.shape == (20, 73)
    assert 3 < values[-1, 0] - values[0, 0] < 8  # 9 pixels of 128, in a crop of about 100 that is 64 wide


def test_frames_without_a_face_are_interpolated(tmp_path, detector, small):
    frames = [GRAY] * 3 + [small] * 6 + [GRAY] * 8 + [np.roll(small, 8, axis=1)] * 6
    values = read(write_video(tmp_path / "a.mp4", frames), detector)[:, 0]
    assert len(values) == 23
    assert values[0] == pytest.approx(values[4], abs=1)
    assert (np.diff(values[9:17]) > 0).all()


def test_landmark_network_replaces_the_detector(tmp_path, detector, small):
    calls = []

    class Landmarks:
        def locate(self, images, boxes):
            calls.extend(boxes)
            points = np.zeros((1, 68, 2))
            points[:, 36:42], points[:, 42:48], points[:, 48:], points[:, 30] = (50, 50), (80, 50), (65, 90), (65, 70)
            return points

    read(write_video(tmp_path / "a.mp4", [small] * 4), detector, Landmarks())
    assert len(calls) == 4


def test_video_without_a_face_is_reported(tmp_path, detector):
    with pytest.raises(InputError, match="no face with landmarks found in any of its 5 frames"):
        read(write_video(tmp_path / "a.mp4", [GRAY] * 5), detector)
