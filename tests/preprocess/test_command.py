"""The command itself: exit codes, sentences, and real faces."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from skimage.data import astronaut

from tests.preprocess.stubs import noise, write_video
from wav2lip.clips import Clip, read_filelist

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments):
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [sys.executable, "-m", "preprocess", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment
    )


def astronaut_video(path, seconds=4):
    """A photo that moves a little, and a noise: a face for a detector, nothing for lips to agree with."""
    photo = astronaut()[:330, 50:390]
    faces = [cv2.resize(photo[n % 7 : 300 + n % 7, n % 5 : 300 + n % 5], (200, 200)) for n in range(seconds * 25)]
    return write_video(path, [n / 25 for n in range(seconds * 25)], wav=noise(seconds), pictures=faces)


def test_a_folder_with_a_face_and_a_text_file_gives_a_clip_a_table_a_report_and_code_0(tmp_path):
    astronaut_video(tmp_path / "my videos" / "astronaut.mkv")
    (tmp_path / "my videos" / "notes.mp4").write_text("no video")
    out = tmp_path / "out"
    ran = command(f'videos="{tmp_path}/my videos"', f"out={out}", "detector=haar", "workers=1")
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "is not audio or video" in ran.stdout
    assert "2 inputs: 1 used, 1 rejected, 0 failed. 1 of 1 clips kept, 0.1 of 0.1 minutes." in ran.stdout
    assert "astronaut.mkv" in (out / "report.html").read_text()
    assert read_filelist(out / "filelists" / "train.txt", out) == ["astronaut/000000"]
    assert "one source only" in ran.stderr
    clip = Clip.open(out / "astronaut/000000")
    assert len(clip.frames) == 100
    height, width = cv2.imread(str(clip.path / "0.jpg")).shape[:2]
    assert 50 < width < height < 160  # the face is about 80 wide and 100 high


@pytest.mark.parametrize(
    ("files", "extra", "sentence"),
    [
        ({"a.mp4": b"", "b.mp4": b"text"}, [], "no clip is left of 2 inputs; probe took most (2 of 2: unreadable)"),
        ({}, [], "holds no video"),
        ({"a.mp4": b""}, ["smooth_window=4"], "smooth_window=4: has no middle frame"),
        ({"a.mp4": b""}, ["detector=s3fd", "s3fd_weights=/no/such.pth"], "/no/such.pth"),
        ({"a.mp4": b""}, ["detector=retina"], "retina"),
        ({"a.mp4": b""}, ["stages=[probe,colour]"], "stages=colour: unknown; choose among probe, shots"),
        ({"a.mp4": b""}, ["shortest=5", "longest=4"], "shortest=5, longest=4"),
        ({"a.mp4": b""}, ["keep=smallest"], "keep=smallest: is none of speaking, largest, all"),
        ({"a.mp4": b""}, ["quality.sharpness=-1"], "quality.sharpness=-1"),
        ({"a.mp4": b""}, ["sync.expert=/no/such.pth"], "/no/such.pth"),
        ({"a.mp4": b""}, ["part_minutes=0"], "part_minutes=0"),
        ({"a.mp4": b""}, ["part_minutes=x"], "part_minutes=x: is not a number"),
        ({"a.mp4": b""}, ["stages=5"], "stages=5: is not a word or a list of words"),
    ],
)  # fmt: skip
def test_what_cannot_work_ends_with_a_sentence_and_code_2(tmp_path, files, extra, sentence):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    ran = command(f"videos={tmp_path}", f"out={tmp_path}/out", "workers=0", "detector=haar", *extra)
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.strip().splitlines()[-1].startswith("error: ")


def test_help_shows_the_keys():
    ran = command("--help")
    assert ran.returncode == 0
    assert "Turn a folder of talking-head videos into clips" in ran.stdout
    assert "smooth_window: auto" in ran.stdout


def test_compat_public_reaches_the_settings():
    ran = command("compat=public", "--cfg", "job", "--resolve")
    assert "compat: public" in ran.stdout.splitlines()


def test_a_real_speaker_is_found_in_every_frame(tmp_path, shared_media):
    video = shared_media / "speaker_d_524_25fps.mp4"
    ran = command(f"videos={video}", f"out={tmp_path}/out", "detector=mtcnn", "workers=1")
    assert ran.returncode == 0, ran.stderr
    assert len(Clip.open(tmp_path / "out/speaker_d_524_25fps/000000").frames) == 122
