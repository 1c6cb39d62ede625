"""Prepared faces: content, order of frames, and damaged files."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models import Wav2Lip
from tests.helpers.lipsync import MAGENTA, ColorDetector, paint_faces
from tests.helpers.live import BOX, live_engine, prepare_noise
from wav2lip.engine.inputs import open_source
from wav2lip.engine.prepared import PreparedFace, is_prepared
from wav2lip.engine.prepared.face import ENGINE
from wav2lip.engine.prepared.file import PreparedFile, read_prepared, write_prepared
from wav2lip.engine.prepared.frame_order import FrameOrder, find_idle_part
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.live.prepare import prepare_face


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return prepare_noise(tmp_path_factory.mktemp("face") / "face.w2l", live_engine())


def test_file_has_frames_and_boxes(path):
    face = PreparedFace(path)
    assert is_prepared(path)
    assert face.images.shape == (12, 64, 64, 3)
    assert (face.images[3] == np.roll(face.images[0], 3, axis=1)).all()
    top, bottom, left, right = BOX
    assert [target.box for target in face.targets(5)] == [(left, top, right, bottom)]
    item = face.item(7, 2)
    item.frame[:] = 0  # a copy: the file is not modified
    assert face.images[2].any()


def test_missed_faces_are_marked(tmp_path):
    seen = paint_faces(np.full((64, 64, 3), 90, np.uint8), (MAGENTA, (16, 16, 48, 48)))
    images = np.stack([seen] * 8)
    images[3:5] = 90
    engine = LipSync(Wav2Lip(width=0.0625), torch.device("cpu"), lambda batch_size, compat: ColorDetector())
    prepare_face(engine, images, tmp_path / "face.w2l", LipSyncOptions(cache=False))
    face = PreparedFace(tmp_path / "face.w2l")
    assert [target.is_missed for n in range(8) for target in face.targets(n)] == [n in (3, 4) for n in range(8)]


def test_file_of_an_earlier_release_has_no_missed_faces(path, tmp_path):
    content = read_prepared(path, ENGINE)
    arrays = {name: values for name, values in content.arrays.items() if name != "missed"}
    write_prepared(tmp_path / "face.w2l", PreparedFile(ENGINE, arrays, content.settings, ""))
    assert not PreparedFace(tmp_path / "face.w2l").targets(0)[0].is_missed


def test_failed_preparation_leaves_no_file(tmp_path):
    images = np.zeros((3, 64, 64, 3), np.uint8)
    with pytest.raises(InputError):
        prepare_face(live_engine(), images, tmp_path / "face.w2l", LipSyncOptions(box=(0, 99, 0, 99)))
    assert list(tmp_path.iterdir()) == []


def test_safetensors_reads_the_file(path):
    arrays = load_file(path)
    assert arrays["frames"].shape == (12, 64, 64, 3)
    assert (arrays["frames"] == PreparedFace(path).images).all()


@pytest.mark.parametrize(
    "option",
    [{"fps": 30.0}, {"start": 1.0}, {"crop": (0, 10, 0, -1)}, {"rotate": True}, {"faces": "all"}, {"fit": "freeze"}],
)
def test_settled_options_are_rejected(path, option):
    with pytest.raises(InputError, match=f"remove --{next(iter(option))}"):
        open_source(path, LipSyncOptions(**option))
    open_source(path, LipSyncOptions(audio_track=2, cache=False, blend="box"))


def test_file_without_settings_is_damaged(tmp_path):
    arrays = {"frames": np.zeros((1, 8, 8, 3), np.uint8)}
    write_prepared(tmp_path / "face.w2l", PreparedFile(ENGINE, arrays, {"fps": "25"}, ""))
    with pytest.raises(InputError, match="damaged"):
        PreparedFace(tmp_path / "face.w2l")


def test_order_is_back_and_forth_without_jumps():
    order = FrameOrder(4, (1, 2))
    assert [order.next(True) for _ in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [order.next(False) for _ in range(4)] == [1, 2, 1, 2]
    order = FrameOrder(10, (0, 1))
    forward = [order.next(True) for _ in range(9)]
    back = [order.next(False) for _ in range(10)]
    assert np.abs(np.diff(forward + back)).max() == 1
    assert set(back[-4:]) == {0, 1}
    assert [FrameOrder(1, (0, 0)).next(True) for _ in range(3)] == [0, 0, 0]


def test_idle_part_has_the_least_motion():
    motion = np.array([5, 5, 1, 0, 1, 5, 5.0])
    assert find_idle_part(motion, 4) == (2, 5)
    assert find_idle_part(motion, 50) == (0, 7)
