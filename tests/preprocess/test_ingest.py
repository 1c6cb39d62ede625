"""Every video is found and gets a name of its own, the same in every run."""

import os

import pytest

from preprocess.ingest import clip_ids, find_videos
from wav2lip.errors import InputError


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("b.mp4", "b/00000"),
        ("a/b.mp4", "a/b"),
        ("x/a/b.mp4", "x__a/b"),
        ("a/take.1.mp4", "a/take.1"),
        ("my folder/my film.MP4", "my_folder/my_film"),
        ("a/line\u2028break\x0bhere.mp4", "a/line_break_here"),
        ("-dash/-rf.mp4", "-dash/-rf"),
        ('it\'s "quoted"/ünïcødé 日本.mkv', 'it\'s_"quoted"/ünïcødé_日本'),
        (".partial/.hidden.mov", "_partial/_hidden"),
    ],
)
def test_a_clip_is_called_after_its_video(name, clip):
    assert clip_ids([name]) == [clip]


@pytest.mark.parametrize(
    ("names", "clips"),
    [
        (["a/take.1.mp4", "a/take.2.mp4"], ["a/take.1", "a/take.2"]),
        (["g/a.mp4", "g/a.mov", "g/b.mp4"], ["g/a_mp4", "g/a_mov", "g/b"]),
        (["a.mp4", "a/00000.mp4"], ["a_mp4/00000", "a/00000_mp4"]),
    ],
)
def test_names_that_come_out_alike_keep_their_endings(names, clips):
    assert clip_ids(names) == clips


@pytest.mark.parametrize(
    "names",
    [
        ["a b.mp4", "a_b.mp4", "a\tb.mp4"],
        ["g/A.mp4", "g/a.mp4"],  # one file where case does not count
        ["x/a/b.mp4", "x/a__b.mp4"],  # x__a/b and x/a__b are made in one folder
    ],
)
def test_no_two_videos_share_a_clip(names):
    clips = clip_ids(names)
    assert len({clip.replace("/", "__").casefold() for clip in clips}) == len(names)
    assert clips == clip_ids(names)


def test_videos_are_found_at_any_depth_with_any_case_and_nothing_else(tmp_path):
    for name in ("a.mp4", "g/b.MOV", "g/h/i/c.mkv", "g/photo.jpg", "g/speech.wav", "notes.txt", "clip.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in find_videos(tmp_path)] == ["a.mp4", "g/b.MOV", "g/h/i/c.mkv"]


def test_one_video_may_be_given_by_itself(tmp_path):
    path = tmp_path / "talk.bin"
    path.write_bytes(b"x")
    assert [source.clip for source in find_videos(path)] == ["talk/00000"]


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_a_name_that_is_no_unicode_can_still_be_written_down(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    (source,) = find_videos(tmp_path)
    assert source.path.exists()
    assert source.clip.encode("utf-8") == rb"caf\xe9/00000"


@pytest.mark.parametrize("make", [False, True])
def test_a_missing_or_empty_folder_is_named(tmp_path, make):
    folder = tmp_path / "videos"
    if make:
        folder.mkdir()
    with pytest.raises(InputError, match=r"videos: (no such folder|holds no video).*check videos="):
        find_videos(folder)
