"""The preprocess command: exit codes, messages, and real faces."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from preprocess.__main__ import main
from tests.helpers.commands import run_main
from tests.helpers.preprocess import astronaut_video
from wav2lip.dataset.clip import Clip
from wav2lip.dataset.filelist import read_filelist

ROOT = Path(__file__).resolve().parents[2]


def run_preprocess(*arguments):
    return run_main(main, *arguments)


def test_command_writes_clip_table_and_report(tmp_path):
    astronaut_video(tmp_path / "my videos" / "astronaut.mkv")
    (tmp_path / "my videos" / "notes.mp4").write_text("no video")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "preprocess", f'videos="{tmp_path}/my videos"', f"out={out}", "detector=haar"]
    process = subprocess.run([*command, "workers=1"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert "not audio or video" in process.stdout
    assert "2 inputs: 1 used, 1 rejected, 0 failed. 1 of 1 clips kept, 0.1 of 0.1 minutes." in process.stdout
    assert "astronaut.mkv" in (out / "report.html").read_text()
    assert read_filelist(out / "filelists" / "train.txt", out) == ["astronaut/000000"]
    assert "add a second video" in process.stderr
    clip = Clip.open(out / "astronaut/000000")
    assert len(clip.frames) == 100
    height, width = cv2.imread(str(clip.path / "0.jpg")).shape[:2]
    assert 50 < width < height < 160  # the face is about 80 wide and 100 high


@pytest.mark.parametrize(
    ("files", "extra", "message"),
    [
        ({"a.mp4": b"", "b.mp4": b"text"}, [], "the stage probe dropped most (2 of 2: unreadable)"),
        ({}, [], "contains no video"),
        ({"a.mp4": b""}, ["smooth_window_frames=4"], "smooth_window_frames=4"),
        ({"a.mp4": b""}, ["detector=s3fd", "s3fd_weights=/no/such.pth"], "/no/such.pth"),
        ({"a.mp4": b""}, ["detector=retina"], "retina"),
        ({"a.mp4": b""}, ["stages=[probe,colour]"], "stages=colour"),
        ({"a.mp4": b""}, ["min_clip_seconds=5", "max_clip_seconds=4"], "max_clip_seconds=4"),
        ({"a.mp4": b""}, ["face_policy=smallest"], "face_policy=smallest: must be one of"),
        ({"a.mp4": b""}, ["quality.min_sharpness=-1"], "quality.min_sharpness=-1"),
        ({"a.mp4": b""}, ["sync.expert=/no/such.pth"], "/no/such.pth"),
        ({"a.mp4": b""}, ["chunk_minutes=0"], "chunk_minutes=0"),
        ({"a.mp4": b""}, ["chunk_minutes=x"], "chunk_minutes=x"),
        ({"a.mp4": b""}, ["stages=5"], "stages=5"),
    ],
)  # fmt: skip
def test_command_exits_2_with_one_line_for_bad_input(tmp_path, files, extra, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    process = run_preprocess(f"videos={tmp_path}", f"out={tmp_path}/out", "workers=0", "detector=haar", *extra)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.strip().splitlines()[-1].startswith("error: ")


def test_help_lists_config_keys():
    process = run_preprocess("--help")
    assert process.returncode == 0
    assert "talking-head videos" in process.stdout
    assert "smooth_window_frames: auto" in process.stdout


def test_compat_public_reaches_settings():
    process = run_preprocess("compat=public", "--cfg", "job", "--resolve")
    assert "compat: public" in process.stdout.splitlines()


def test_command_finds_real_speaker_in_every_frame(tmp_path, shared_media):
    video = shared_media / "speaker_d_524_25fps.mp4"
    process = run_preprocess(f"videos={video}", f"out={tmp_path}/out", "detector=mtcnn", "workers=0")
    assert process.returncode == 0, process.stderr
    assert len(Clip.open(tmp_path / "out/speaker_d_524_25fps/000000").frames) == 122
