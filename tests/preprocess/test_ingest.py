"""Discovery of videos, and their clip ids."""

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
def test_clip_id_follows_video_name(name, clip):
    assert clip_ids([name]) == [clip]


@pytest.mark.parametrize(
    ("names", "clips"),
    [
        (["a/take.1.mp4", "a/take.2.mp4"], ["a/take.1", "a/take.2"]),
        (["g/a.mp4", "g/a.mov", "g/b.mp4"], ["g/a_mp4", "g/a_mov", "g/b"]),
        (["a.mp4", "a/00000.mp4"], ["a_mp4/00000", "a/00000_mp4"]),
    ],
)
def test_colliding_names_keep_suffix(names, clips):
    assert clip_ids(names) == clips


@pytest.mark.parametrize(
    "names",
    [
        ["a b.mp4", "a_b.mp4", "a\tb.mp4"],
        ["g/A.mp4", "g/a.mp4"],  # the same file on a case-insensitive file system
        ["x/a/b.mp4", "x/a__b.mp4"],  # x__a/b and x/a__b have the same partial folder
    ],
)
def test_clip_ids_are_unique(names):
    clips = clip_ids(names)
    assert len({clip.replace("/", "__").casefold() for clip in clips}) == len(names)
    assert clips == clip_ids(names)


def test_find_videos_recurses_and_ignores_other_files(tmp_path):
    for name in ("a.mp4", "g/b.MOV", "g/h/i/c.mkv", "g/photo.jpg", "g/speech.wav", "notes.txt", "clip.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in find_videos(tmp_path)] == ["a.mp4", "g/b.MOV", "g/h/i/c.mkv"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_hidden_and_system_files_are_ignored_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    touch(tmp_path, "g/x.mp4", "g/._x.mp4", ".Trashes/501/old.mp4", "g/.ipynb_checkpoints/x-checkpoint.mp4",
          "@eaDir/x.mp4/SYNO.mp4", "g/__MACOSX/._x.mp4")  # fmt: skip
    assert [source.name for source in find_videos(tmp_path)] == ["g/x.mp4"]
    assert "ignored 5 hidden files and folders, such as .Trashes" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="links require a privilege there")
def test_linked_folders_are_followed_once(tmp_path):
    touch(tmp_path, "disk/a.mp4", "in/g/b.mp4")
    (tmp_path / "in/link").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "in/again").symlink_to(tmp_path / "in/g", target_is_directory=True)
    (tmp_path / "disk/loop").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [source.name for source in find_videos(tmp_path / "in")] == ["g/b.mp4", "link/a.mp4"]


@pytest.mark.parametrize(("names", "message"), [
    (["a/1/0.jpg", "a/1/1.jpg", "a/2/00007.PNG"], "contains 3 face crops in 2 folders without audio.wav"),
    (["a/1/0.jpg", "a/1/audio.wav"], "contains 1 clips of face crops .*preprocess.doctor .*, or train"),
    (["up/data/a/1/0.jpg", "up/data/a/1/audio.wav"], r"preprocess.doctor \S*up.data, or train with data_root=\S*data$"),
    (["photo.heic.png"], "contains 1 images, such as photo.heic.png"),
    (["speech.mp3"], "contains 1 audio files"),
    (["videos.zip", "notes.txt"], "contains 1 archives, such as videos.zip.*; unpack them"),
    (["a.txt", "b.txt"], "most of its 2 files are with the ending .txt"),
    ([".hidden.mp4"], "contains no video and no other file"),
])  # fmt: skip
def test_folder_without_video_is_explained(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_videos(tmp_path)


def test_find_videos_accepts_single_file(tmp_path):
    path = tmp_path / "talk.bin"
    path.write_bytes(b"x")
    assert [source.clip for source in find_videos(path)] == ["talk/00000"]


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_non_utf8_name_is_escaped(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    (source,) = find_videos(tmp_path)
    assert source.path.exists()
    assert source.clip.encode("utf-8") == rb"caf\xe9/00000"


@pytest.mark.parametrize("exists", [False, True])
def test_missing_or_empty_folder_is_error(tmp_path, exists):
    folder = tmp_path / "videos"
    if exists:
        folder.mkdir()
    with pytest.raises(InputError, match=r"videos: (no such folder|contains no video).*; check the path"):
        find_videos(folder)
