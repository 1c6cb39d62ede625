"""FAN's crop, the decoding of its heat maps, and five landmarks for detectors without any."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from face_detection.interface import DetectorError, Face
from face_detection.landmarks import face_alignment as package
from face_detection.landmarks.detector import LandmarkDetector, five_points
from face_detection.landmarks.face_alignment import FaceAlignmentLandmarker
from face_detection.landmarks.fan68 import FAN68, FANLandmarker, crop_matrix, decode_heatmaps
from tests.helpers.lipsync import CYAN, MAGENTA, ColorDetector, paint_faces

CELL = 1 / 64  # of the crop's side


class RedDots(torch.nn.Module):
    """A network that finds every landmark at the brightest red spot."""

    def forward(self, faces):
        red = faces[:, :1] - faces[:, 1:].mean(dim=1, keepdim=True)
        return F.avg_pool2d(red, 4).expand(-1, 68, -1, -1)


def draw_dot(x: float, y: float) -> np.ndarray:
    """Draw a soft red dot on a gray frame of 300 x 400 pixels; x, y: its center in pixels."""
    columns, rows = np.meshgrid(np.arange(400), np.arange(300))
    weight = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4**2))[..., None]
    return (128 + weight * np.array([127, -128, -128])).astype(np.uint8)


def test_heatmap_peaks_shift_towards_the_higher_neighbor():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 3, 4], maps[0, 0, 3, 5], maps[0, 0, 2, 4] = 5, 2, 1
    assert decode_heatmaps(maps)[0, 0].tolist() == [(4 + 0.25 + 0.5) / 8, (3 - 0.25 + 0.5) / 8]


def test_crop_is_a_square_above_the_center_of_the_box():
    matrix = crop_matrix((100, 100, 195, 200))  # 95 + 100: 200 pixels; center at (147.5, 150 - 12)
    corner, opposite = (matrix @ (x, y, 1) for x, y in ((47.5 - 0.5, 38 - 0.5), (247.5 - 0.5, 238 - 0.5)))
    np.testing.assert_allclose(corner, [-0.5, -0.5], atol=1e-9)  # edges, half a pixel from the centers
    np.testing.assert_allclose(opposite, [255.5, 255.5], atol=1e-9)


def test_landmarks_are_in_pixels_of_the_frame():
    dots = [(140.0, 120.0), (60.0, 200.0), (12.0, 20.0)]
    boxes = [(100.0, 80.0, 180.0, 180.0), (20.0, 150.0, 140.0, 290.0), (-20.0, -10.0, 40.0, 60.0)]
    points = FANLandmarker(RedDots(), batch_size=2).locate([draw_dot(*dot) for dot in dots], boxes)
    assert points.shape == (3, 68, 2)
    for located, dot, (left, top, right, bottom) in zip(points, dots, boxes, strict=True):
        side = 200 / 195 * (right - left + bottom - top)
        assert np.abs(located - dot).max() < 0.5 * CELL * side
    assert FANLandmarker(RedDots()).locate([], []).shape == (0, 68, 2)


def test_five_points_are_eyes_nose_and_mouth_corners():
    points = np.zeros((68, 2))
    eye = np.arange(12.0).reshape(6, 2)
    points[36:42], points[42:48] = eye, eye + np.array([40, 0])
    points[30], points[48], points[54] = (25, 30), (15, 45), (35, 46)
    assert five_points(points) == ((5, 6), (45, 6), (25, 30), (15, 45), (35, 46))


def test_detector_gets_landmarks_in_every_frame():
    gray = np.full((300, 400, 3), 128, np.uint8)
    frames = [paint_faces(gray, (MAGENTA, (50, 60, 150, 180)), (CYAN, (200, 60, 290, 170))), gray]
    detector = LandmarkDetector(ColorDetector(), FANLandmarker(RedDots()))
    (first, second), none = detector.detect(frames)
    assert (detector.name, none) == ("color", [])
    assert detector.fingerprint.startswith("color 1; fan68 ")
    assert [face.box for face in (first, second)] == [(50, 60, 150, 180), (200, 60, 290, 170)]
    for face in (first, second):
        assert np.shape(face.landmarks) == (5, 2)
    uncached = SimpleNamespace(name="plain", detect=lambda frames: [[Face((0.0, 0.0, 9.0, 9.0), 0.5)]])
    assert LandmarkDetector(uncached, FANLandmarker(RedDots())).fingerprint is None


def test_weights_of_another_network_are_rejected():
    with pytest.raises(DetectorError, match=r"expert\.pth: not the weights of 2DFAN4"):
        FAN68.from_weights({"weight": torch.zeros(1)}, "expert.pth")
    with torch.device("meta"):
        assert FAN68(num_stacks=2).num_stacks == 2


@pytest.fixture
def fake_package(monkeypatch):
    """A package face-alignment whose network finds red dots; returns the arguments of its calls."""
    calls = []

    class FaceAlignment:
        def __init__(self, kind, **settings):
            calls.append((kind, settings))

        def get_landmarks_from_image(self, frame, detected_faces):
            calls.append(detected_faces)
            return [np.full((68, 2), frame[0, 0, 0], np.float32)]

    module = SimpleNamespace(FaceAlignment=FaceAlignment, LandmarksType=SimpleNamespace(TWO_D="2d"))
    monkeypatch.setitem(sys.modules, "face_alignment", module)
    monkeypatch.setattr(package, "version", lambda name: "1.5.0")
    return calls


def test_package_gets_frame_and_box(fake_package):
    landmarker = FaceAlignmentLandmarker("cpu")
    points = landmarker.locate([np.full((9, 9, 3), 7, np.uint8)], [(1.0, 2.0, 8.0, 9.0)])
    assert (points == 7).all()
    assert points.shape == (1, 68, 2)
    (kind, settings), ((box,)) = fake_package
    assert (kind, settings["device"], settings["face_detector"]) == ("2d", "cpu", "folder")
    assert box.tolist() == [1, 2, 8, 9]
    assert landmarker.fingerprint == "face-alignment 1.5.0"


@pytest.mark.parametrize(("installed", "expected"), [("1.5.0", (1, 5)), ("1.10.2", (1, 10)), ("1.4.1", None)])
def test_old_package_is_not_used(monkeypatch, installed, expected):
    monkeypatch.setattr(package, "version", lambda name: installed)
    assert package.installed_version() == expected


@pytest.mark.slow  # the package compiles its decoding first
def test_points_equal_the_packages():
    face_alignment = pytest.importorskip("face_alignment", reason="face-alignment is in the extra landmarks")
    reference = face_alignment.FaceAlignment.__new__(face_alignment.FaceAlignment)
    reference.face_alignment_net, reference.face_detector = RedDots(), SimpleNamespace(reference_scale=195)
    reference.device, reference.dtype, reference.max_batch_size = "cpu", torch.float32, 1
    reference.flip_input, reference.landmarks_type = False, face_alignment.LandmarksType.TWO_D
    rng, own = np.random.default_rng(0), FANLandmarker(RedDots())
    for _ in range(20):
        left, top = rng.uniform(40, 150, 2)
        box = (left, top, left + rng.uniform(60, 120), top + rng.uniform(70, 130))
        frame = draw_dot(rng.uniform(box[0], box[2]), rng.uniform(box[1], box[3]))
        expected = reference.get_landmarks_from_image(frame, detected_faces=[np.array(box)])[0]
        assert np.abs(own.locate([frame], [box])[0] - expected).max() < 3  # the package works in whole pixels
