"""Corrupt files, invalid paths and unusual file names."""

from __future__ import annotations

import os

import av
import numpy as np
import pytest

from tests.helpers.media import (
    ffmpeg,
    tone,
    write_video,
    write_wav,
)
from wav2lip.audio import load_wav
from wav2lip.errors import InputError
from wav2lip.media import is_image, probe, read_frames


@pytest.mark.parametrize("name", ["a.mp4", "a.wav", "a.png", "a.jpg", "a.mp3", "a.mkv", "a.gif", "no dot"])
@pytest.mark.parametrize("content", [b"", b"Dear diary,\n" * 30], ids=["empty", "text"])
def test_empty_or_text_file_is_rejected(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert not is_image(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: (is empty|not audio or video)") as raised:
        probe(tmp_path / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("path", "message"), [
    (".", "is a folder; give a file"), ("none.mp4", "no such file"), ("file/below.mp4", "no such file"),
    ("x" * 300 + ".mp4", "File name too long"), ("a\0b.mp4", "no such file|null"),
], ids=["folder", "missing", "below a file", "too long", "zero byte"])  # fmt: skip
def test_invalid_path_is_rejected(tmp_path, path, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=message):
        probe(tmp_path / path)


def test_unfinished_recording_is_rejected(tmp_path):
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    moov_last = ffmpeg("-i", write_video(tmp_path / "a.mp4", frames), "-c", "copy", tmp_path / "last.mp4").read_bytes()
    assert moov_last.index(b"mdat") < moov_last.index(b"moov")
    (tmp_path / "cut.mp4").write_bytes(moov_last[: len(moov_last) // 2])
    with pytest.raises(InputError, match=r"cut\.mp4: .*corrupt"):
        probe(tmp_path / "cut.mp4")


def test_corrupt_packets_are_skipped_and_reported(tmp_path):
    frames = list(np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8))
    content = bytearray(write_video(tmp_path / "a.mp4", frames).read_bytes())
    with av.open(str(tmp_path / "a.mp4")) as file:
        packets = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    for start, size in packets[10:13]:
        content[start : start + size] = bytes(size)
    (tmp_path / "b.mp4").write_bytes(content)
    problems: list[str] = []
    assert 10 <= sum(1 for _ in read_frames(tmp_path / "b.mp4", on_problem=problems.append)) < 25
    assert len(problems) == 1 and "corrupt packets of video" in problems[0]


NAMES = ["two words.mp4", "it's \"quoted\".mp4", "日本 é.mp4", "-dash.mp4", "100%03d.mp4", "nodot", "a.b.c.mp4",
         "http:x.mp4", "[1]*?.mp4", "a;b&c$d.mp4"]  # fmt: skip
if not os.path.supports_unicode_filenames:  # names are bytes
    NAMES.append(os.fsdecode(b"caf\xe9.mp4"))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_file_name_is_read(tmp_path, monkeypatch, name):
    audio = write_wav(tmp_path / "a.wav", tone(0.2))
    write_video(tmp_path / "plain.mp4", [np.zeros((64, 64, 3), np.uint8)] * 5, audio=audio).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)  # the name is used as a relative path
    assert len(list(read_frames(name))) == 5
    assert len(load_wav(name)) == pytest.approx(3200, abs=1100)
