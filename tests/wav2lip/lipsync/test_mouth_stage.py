"""The generator as a stage of another engine."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from face_detection import Face, build_detector
from models import Wav2Lip
from tests.helpers.media import noise, write_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.boxes import Pads
from wav2lip.faces.framing import KEY, FaceFraming
from wav2lip.lipsync.backends.pytorch import TorchBackend
from wav2lip.lipsync.mouth_stage import MouthStage


@pytest.fixture(scope="module")
def stage():
    torch.manual_seed(0)
    return MouthStage(TorchBackend(Wav2Lip(width=0.125)), torch.device("cpu"))


def items(box, count=11):
    targets = [] if box is None else [FaceTarget(box)]
    return (FrameItem(n, np.full((128, 128, 3), 100, np.uint8), list(targets)) for n in range(count))


def test_mouth_is_drawn_into_the_lower_face(stage, tmp_path):
    audio = write_wav(tmp_path / "a.wav", noise(0.5))
    result = list(stage(items((30, 20, 100, 100)), audio, Fraction(25)))
    assert [item.index for item in result] == list(range(11))
    changed = np.stack([item.frame != 100 for item in result]).any(axis=(0, 3))
    rows, columns = np.nonzero(changed)
    assert rows.min() > 60 and rows.max() < 112 and columns.min() >= 30 and columns.max() < 100
    assert all(len(item.targets) == 1 for item in result)


def test_frames_without_a_usable_face_are_unchanged(stage, tmp_path):
    audio = write_wav(tmp_path / "a.wav", noise(0.5))
    for box in (None, (10, 10, 14, 14)):
        assert all((item.frame == 100).all() for item in stage(items(box), audio, Fraction(25)))


class LoudnessMouth:
    """A generator that draws a mouth as bright as the audio is loud."""

    resolution = 96

    def __init__(self, framing=None):
        self.framing = framing

    def load(self, device, precision):
        return self

    def __call__(self, mels, faces, first_row=0):
        drawn = faces[..., 2::-1].copy()
        drawn[:, 60:80, 36:60] = (128 + 25 * mels.mean(axis=(1, 2, 3), keepdims=True)).astype(np.uint8)
        return drawn


@pytest.mark.parametrize(("framing", "bottom"), [(None, 10), (FaceFraming(Pads(bottom=4)), 4)])
def test_faces_are_padded_as_in_the_training_of_the_generator(tmp_path, framing, bottom):
    stage = MouthStage(LoudnessMouth(framing), torch.device("cpu"))
    (item,) = stage(items((30, 20, 100, 100), 1), write_wav(tmp_path / "a.wav", noise(0.5)), Fraction(25))
    assert item.targets[0].box == (30, 20, 100, 100 + bottom)


def test_mouth_follows_the_audio_at_any_frame_rate(tmp_path):
    audio = write_wav(tmp_path / "a.wav", np.concatenate([np.zeros(8000), noise(0.5)]))
    stage = MouthStage(LoudnessMouth(), torch.device("cpu"))
    for fps in (25, 50):
        mouths = [item.frame[82, 64].mean() for item in stage(items((30, 20, 100, 100), fps), audio, Fraction(fps))]
        assert max(mouths[: fps // 2 - fps // 5]) < 100 < min(mouths[fps // 2 + fps // 10 : fps * 4 // 5])


class SquareFace:
    """A detector that finds one face in the middle of an image, a third of its width."""

    name = "square"

    def detect(self, frames):
        height, width = frames[0].shape[:2]
        return [[Face((width / 3, height / 3, 2 * width / 3, 2 * height / 3), 0.9)] for _ in frames]


def test_box_is_that_of_the_detector_of_the_training_data():
    frame, box = np.zeros((300, 300, 3), np.uint8), np.array([120, 100, 180, 180])
    device = torch.device("cpu")
    found = MouthStage(LoudnessMouth(), device, SquareFace()).find_box(frame, box)
    np.testing.assert_allclose(found, [40 + 220 / 3, 20 + 80, 40 + 440 / 3, 20 + 160])
    np.testing.assert_array_equal(MouthStage(LoudnessMouth(), device).find_box(frame, box), box)


def test_box_remains_where_the_detector_finds_no_face(caplog):
    box = np.array([120, 100, 180, 180])
    stage = MouthStage(LoudnessMouth(), torch.device("cpu"), build_detector("mtcnn"))
    np.testing.assert_array_equal(stage.find_box(np.full((300, 300, 3), 120, np.uint8), box), box)
    assert "mtcnn does not find the face" in caplog.text


@pytest.mark.parametrize("name", ["haar", "mtcnn"])
def test_detector_is_that_of_the_framing_in_the_checkpoint(tmp_path, name):
    extras = {KEY: FaceFraming(detector=name).to_json()}
    save_checkpoint(tmp_path / "g.pth", Checkpoint(Wav2Lip(width=0.125).state_dict(), extras=extras))
    assert MouthStage.from_checkpoint(tmp_path / "g.pth", "cpu").detector.name == name
