"""The result file: metadata, encoding, and complete or absent after a kill."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import av
import pytest

from tests.helpers.infer import BOX, OLD_RESULT, command_line, run_command, write_inputs
from tests.helpers.media import ffmpeg, tone, write_wav
from wav2lip import __version__


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("media"))


def read_comment(path) -> str | None:
    with av.open(str(path)) as file:
        return file.metadata.get("comment")


def test_result_metadata_names_version_and_weights(media, tmp_path):
    audio = write_wav(tmp_path / "a.wav", tone(0.1))
    run_command(command_line(media, tmp_path / "out.mp4", audio=audio) + BOX)
    weights = hashlib.sha256((media / "generator.pth").read_bytes()).hexdigest()[:16]
    comment = read_comment(tmp_path / "out.mp4")
    assert "generated" in comment
    assert f"wav2lip-toolkit {__version__}" in comment
    assert f"sha256 {weights}" in comment
    run_command([*command_line(media, tmp_path / "out.mp4", audio=audio), *BOX, "--no_metadata"])
    assert read_comment(tmp_path / "out.mp4") is None


def test_encoding_flags_reach_result(media, tmp_path):
    flags = ["--codec", "libx265", "--crf", "30", "--preset", "ultrafast", "--pix_fmt", "yuv444p"]
    run_command(command_line(media, tmp_path / "out.mp4", audio=write_wav(tmp_path / "a.wav", tone(0.1))) + flags + BOX)
    with av.open(str(tmp_path / "out.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("hevc", "yuv444p")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_run_leaves_no_partial_result(media, tmp_path):
    face = ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1", tmp_path / "face.mp4")
    audio = ffmpeg("-f", "lavfi", "-i", "sine=r=8000:d=120", tmp_path / "audio.wav")  # 3000 frames
    out, scratch = tmp_path / "out" / "result.mp4", tmp_path / "scratch"
    out.parent.mkdir()
    scratch.mkdir()
    out.write_bytes(OLD_RESULT)
    command = [sys.executable, "-m", "wav2lip.infer", *command_line(media, out, face=face, audio=audio), *BOX]
    process = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(scratch)}, stderr=subprocess.DEVNULL)
    try:
        start = time.monotonic()
        while not any(path.stat().st_size for path in out.parent.iterdir() if path != out):
            assert process.poll() is None, "ended before the kill"
            assert time.monotonic() - start < 240, "wrote nothing"
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert out.read_bytes() == OLD_RESULT
    partial_files = [path.name for path in out.parent.iterdir() if path != out]
    assert len(partial_files) == 1 and ".partial" in partial_files[0]
    assert not list(scratch.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio.wav", "face.mp4", "out", "scratch"]
