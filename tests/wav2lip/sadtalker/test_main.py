"""The command: SadTalker's flags, results and errors in one sentence."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.helpers.media import noise, write_wav
from tests.helpers.talking_head import tiny_sadtalker
from wav2lip.cli import run
from wav2lip.sadtalker import SadTalker
from wav2lip.sadtalker import __main__ as command
from wav2lip.sadtalker.__main__ import animate, build_parser

# Flags of SadTalker's inference.py; switches have no value.
FLAGS = """--driven_audio a --source_image b --ref_eyeblink c --ref_pose d --checkpoint_dir e --result_dir f
 --pose_style 3 --batch_size 2 --size 256 --expression_scale 1.2 --input_yaw -20 30 --input_pitch 1 --input_roll 2
 --enhancer g --background_enhancer h --cpu --face3dvis --still --preprocess full --verbose --old_version
 --net_recon resnet50 --init_path i --use_last_fc False --bfm_folder j --bfm_model k --focal 1015 --center 112
 --camera_d 10 --z_near 5 --z_far 15"""


@pytest.fixture
def inputs(tmp_path, portrait):
    Image.fromarray(portrait).save(tmp_path / "photo.png")
    write_wav(tmp_path / "speech.wav", noise(0.2))
    return tmp_path


@pytest.fixture
def tiny_engine(monkeypatch):
    engine = tiny_sadtalker()
    monkeypatch.setattr(SadTalker, "from_checkpoint", lambda *arguments: engine)
    return engine


def error_of(capsys, *words):
    with pytest.raises(SystemExit) as end:
        run(lambda: animate([str(word) for word in words]))
    assert end.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_every_flag_of_sadtalker_is_accepted():
    args = build_parser().parse_args(FLAGS.split())
    assert (args.input_yaw, args.still, args.preprocess, args.expression_scale) == ([-20, 30], True, "full", 1.2)


def test_result_is_named_by_the_time(inputs, tiny_engine):
    animate(["--driven_audio", str(inputs / "speech.wav"), "--source_image", str(inputs / "photo.png"),
             "--result_dir", str(inputs / "results"), "--still", "--verbose"])  # fmt: skip
    (video,) = (inputs / "results").glob("*.mp4")
    assert re.fullmatch(r"\d{4}_\d\d_\d\d_\d\d\.\d\d\.\d\d\.mp4", video.name)
    assert (video.with_suffix("") / "photo##audio.mat").is_file()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--face3dvis"], "--face3dvis: not supported"),
        (["--pose_style", "99"], "--pose_style=99: must be from 0 to 45"),
        (["--enhancer", "gfpgan"], "gfpgan: GFPGANv1.4.pth is not in"),
        (["--ref_pose", "none.mp4"], "--ref_pose=none.mp4: no such file"),
        (["--points", "none.txt"], "--points=none.txt: no such file"),
        (["--outfile", "result.txt"], "must be a video file name"),
    ],
)
def test_bad_flags_are_reported(inputs, tiny_engine, capsys, words, reason):
    error = error_of(capsys, "--driven_audio", inputs / "speech.wav", "--source_image", inputs / "photo.png", *words)
    assert reason in error


def test_missing_checkpoints_are_reported(inputs, capsys):
    error = error_of(
        capsys, "--driven_audio", inputs / "speech.wav", "--source_image", inputs / "photo.png", "--checkpoint_dir",
        inputs / "none", "--cpu",
    )  # fmt: skip
    assert "no such folder; download the checkpoints of SadTalker" in error


@pytest.mark.parametrize("flag", ["--s3fd_weights", "--landmark_weights"])
def test_missing_weights_are_reported_even_where_they_are_not_used(inputs, capsys, flag):
    error = error_of(
        capsys, "--driven_audio", inputs / "speech.wav", "--source_image", inputs / "photo.png", "--checkpoint_dir",
        inputs, "--cpu", flag, "none.pth",
    )  # fmt: skip
    assert f"{flag}=none.pth: no such file" in error


@pytest.mark.parametrize("name", ["gray.png", "text.png", "empty.png", "none.png"])
def test_unusable_photos_are_reported(inputs, tiny_engine, capsys, name):
    Image.fromarray(np.full((200, 200, 3), 120, np.uint8)).save(inputs / "gray.png")
    (inputs / "text.png").write_text("Dear diary,\n" * 30)
    (inputs / "empty.png").write_bytes(b"")
    assert name in error_of(capsys, "--driven_audio", inputs / "speech.wav", "--source_image", inputs / name)


def test_help_lists_no_flag_without_effect(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--help"])
    text = capsys.readouterr().out
    assert "--preprocess" in text and not any(f"--{flag}" in text for flag in command.UNUSED_FLAGS)
