"""The command that prepares a face: flags of both engines are honored or refused."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.talking_head import tiny_sadtalker
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync
from wav2lip.prepare import __main__ as command
from wav2lip.prepare.__main__ import prepare
from wav2lip.sadtalker import SadTalker
from wav2lip.sadtalker.identity import Identity


@pytest.fixture
def photo(tmp_path, portrait):
    """A turned photo of two persons, of whom the left one is larger."""
    height, width = portrait.shape[:2]
    pair = np.full((height, 2 * width, 3), 120, np.uint8)
    pair[:, :width] = portrait
    pair[height // 4 : height // 4 * 3, width + width // 4 : width + width // 4 * 3] = portrait[::2, ::2]
    Image.fromarray(np.rot90(pair)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def prepare_photo(photo, *words):
    out = photo.with_name("face.w2l")
    prepare(["--engine", "sadtalker", "--face", str(photo), "--out", str(out), *words])
    return Identity.load(out)


def test_flags_of_frames_and_faces_apply_to_a_photo(photo, monkeypatch):
    loaded = []
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *words: loaded.append(words) or tiny_sadtalker())
    largest = prepare_photo(photo, "--rotate", "--preprocess", "full", "--landmark_weights", "fan.pth")
    assert largest.photo.shape == (256, 512, 3) and largest.region.box[2] < 256
    assert loaded == [("./checkpoints", "auto", "auto", None, "fan.pth")]
    right = prepare_photo(photo, "--rotate", "--preprocess", "full", "--face_at", "0,384,128")
    assert right.region.box[0] > 256
    cropped = prepare_photo(photo, "--rotate", "--preprocess", "full", "--crop", "0", "-1", "256", "512")
    assert cropped.photo.shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("engine", "words", "reason"),
    [
        ("sadtalker", ["--pads", "0", "5", "0", "0"], "--pads: without effect with --engine sadtalker"),
        ("sadtalker", ["--nosmooth", "--seconds", "3"], "--seconds, --nosmooth: without"),
        ("sadtalker", ["--checkpoint_path", "wav2lip.pth"], "--checkpoint_path: without"),
        ("wav2lip", ["--points", "points.txt"], "--points: without effect with --engine wav2lip"),
        ("wav2lip", ["--detector", "retinaface"], "--detector=retinaface: requires --engine sadtalker"),
        ("wav2lip", ["--preprocess", "full", "--size", "512"], "--preprocess, --size: without"),
    ],
)
def test_flags_of_the_other_engine_are_refused(photo, monkeypatch, engine, words, reason):
    for each in (SadTalker, LipSync):
        monkeypatch.delattr(each, "from_checkpoint")  # any call would fail
    with pytest.raises(InputError, match=reason):
        prepare(["--engine", engine, "--face", str(photo), "--out", "face.w2l", *words])


def test_names_of_files_may_begin_with_dashes():
    assert "--points" in command.FILE_FLAGS
