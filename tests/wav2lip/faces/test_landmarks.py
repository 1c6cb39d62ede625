"""Choice of the landmarks, and their use by --align and the enhancer with a detector that has none."""

import numpy as np
import pytest
import torch

from face_detection.interface import DetectorError
from face_detection.landmarks.detector import LandmarkDetector
from face_detection.landmarks.fan68 import CACHED_WEIGHTS, FAN68, FANLandmarker
from models import Wav2Lip
from tests.helpers.lipsync import MAGENTA, ColorDetector, MemorySource, paint_faces, silent_windows
from wav2lip.faces import landmarks
from wav2lip.faces.landmarks import add_landmarks, build_landmarker, has_landmarks, load_fan
from wav2lip.lipsync import LipSync, LipSyncOptions

TILT_DEGREES = 15


class TiltedFace:
    """A landmarker of faces whose eyes are tilted."""

    fingerprint = "tilted"

    def locate(self, frames, boxes):
        points = np.zeros((len(boxes), 68, 2))
        for face, (left, top, right, bottom) in zip(points, boxes, strict=True):
            center, width = np.array([(left + right) / 2, (top + bottom) / 2]), right - left
            direction = width * 0.25 * np.array([np.cos(np.radians(TILT_DEGREES)), np.sin(np.radians(TILT_DEGREES))])
            face[:] = center
            face[36:42], face[42:48] = center - direction, center + direction
        return points


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """An empty torch cache, without the package; returns the folder of the downloads."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(landmarks, "installed_version", lambda: None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_load_as_state_dict_and_torchscript(no_cache, caplog):
    torch.manual_seed(0)
    network, face = FAN68(num_stacks=1).eval(), torch.rand(1, 3, 64, 64)
    archive, weights = (no_cache / name for name in CACHED_WEIGHTS)
    torch.save(network.state_dict(), weights)
    torch.jit.trace(network, face, check_trace=False).save(archive)
    with torch.inference_mode():
        expected = network(face)
        assert all(torch.equal(load_fan(path)(face), expected) for path in (archive, weights))
    caplog.set_level("INFO")
    assert isinstance(build_landmarker(), FANLandmarker)
    assert f"landmarks: FAN with weights {archive}" in caplog.messages


def test_without_weights_and_package_there_are_none(no_cache, monkeypatch):
    assert build_landmarker() is None
    detector = ColorDetector()
    assert add_landmarks(detector, None) is detector
    assert not has_landmarks(detector)
    monkeypatch.setattr(landmarks, "installed_version", lambda: (1, 5))
    monkeypatch.setattr(landmarks, "FaceAlignmentLandmarker", lambda device: TiltedFace())
    assert isinstance(add_landmarks(detector, build_landmarker()), LandmarkDetector)


def test_package_without_weights_is_skipped_with_a_line(no_cache, monkeypatch, caplog):
    def fail(device):
        raise DetectorError("face-alignment: could not load its weights")

    monkeypatch.setattr(landmarks, "installed_version", lambda: (1, 5))
    monkeypatch.setattr(landmarks, "FaceAlignmentLandmarker", fail)
    assert build_landmarker() is None
    assert "no landmarks from face-alignment: could not load its weights" in caplog.text


def test_named_file_of_another_network_is_an_error(no_cache, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DetectorError, match=r"other\.pth: not the weights of 2DFAN4"):
        build_landmarker(tmp_path / "other.pth")


def located(lipsync: LipSync, source: MemorySource, options: LipSyncOptions) -> np.ndarray | None:
    """Return the landmarks of the only face of the first frame."""
    locator = lipsync.face_locator(source, 1, options)
    ((_, (target,)),) = locator.select(locator.detect(source.frames()))
    return target.landmarks


@pytest.mark.parametrize(
    ("options", "has_points"), [({"align": True}, True), ({"enhancer": "net.pth"}, True), ({}, False)]
)
def test_face_has_landmarks_where_they_are_used(monkeypatch, options, has_points):
    monkeypatch.setattr("wav2lip.lipsync.pipeline.build_landmarker", lambda weights, device: TiltedFace())
    gray = np.full((240, 320, 3), 128, np.uint8)
    source = MemorySource([paint_faces(gray, (MAGENTA, (100, 60, 180, 160)))])
    lipsync = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: ColorDetector())
    points = located(lipsync, source, LipSyncOptions(**options, cache=False))
    assert (points is not None) == has_points
    if points is not None:
        dx, dy = points[1] - points[0]
        assert np.degrees(np.arctan2(dy, dx)) == pytest.approx(TILT_DEGREES, abs=0.1)


def test_align_runs_with_landmarks_of_another_network(monkeypatch):
    monkeypatch.setattr("wav2lip.lipsync.pipeline.build_landmarker", lambda weights, device: TiltedFace())
    gray = np.full((240, 320, 3), 128, np.uint8)
    source = MemorySource([paint_faces(gray, (MAGENTA, (100, 60, 180, 160)))] * 2)
    lipsync = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: ColorDetector())
    options = LipSyncOptions(align=True, silence="off", cache=False)
    frames = [item.frame for item in lipsync.run(source, [silent_windows(2)], options)]
    assert len(frames) == 2
    assert (frames[0] != next(source.frames())).any()
