"""The paper's lists are read as published; an invalid line is named."""

import pytest

from wav2lip.errors import InputError
from wav2lip.evaluation.protocols import Pair, read_list


@pytest.fixture
def root(tmp_path):
    for name in ("6330/00012.mp4", "6331/00034.mp4", "ABOUT_00001.mp4", "face.mp4", "voice.wav"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def read_lines(root, text, protocol, limit=None):
    path = root.parent / "list.txt"
    path.write_text(text)
    return read_list(path, root, protocol, limit)


@pytest.mark.parametrize("protocol", ["lrs2", "lrs3"])
def test_lrs_lines_name_the_audio_first(root, protocol):
    (pair,) = read_lines(root, "6330/00012 6331/00034\n", protocol)
    assert pair == Pair(0, face=root / "6331/00034.mp4", audio=root / "6330/00012.mp4")


def test_lrw_clips_may_have_no_folder(root):
    (pair,) = read_lines(root, "ABOUT_00001 6331/00034\n", "lrw")
    assert pair.audio == root / "ABOUT_00001.mp4"


def test_resynced_lines_name_the_face_first(root):
    pairs = read_lines(root, "face.mp4 voice.wav\nface.mp4 6330/00012.mp4", "resynced")
    assert pairs == [
        Pair(0, root / "face.mp4", root / "voice.wav"),
        Pair(1, root / "face.mp4", root / "6330/00012.mp4"),
    ]
    assert len(read_lines(root, "face.mp4 voice.wav\nface.mp4 6330/00012.mp4", "resynced", limit=1)) == 1


@pytest.mark.parametrize("text", [
    "\ufeff6330/00012 6331/00034\r\n", "6330/00012.mp4 6331/00034.mp4\n\n\n", "6330\\00012,6331\\00034",
    "/6330/00012\t./6331/00034",
])  # fmt: skip
def test_usual_spellings_of_a_pair_are_read(root, text):
    (pair,) = read_lines(root, text, "lrs2")
    assert pair == Pair(0, face=root / "6331/00034.mp4", audio=root / "6330/00012.mp4")


@pytest.mark.parametrize(
    ("text", "protocol", "message"),
    [
        ("6330/00012 6331/00034\n6330/00012\n", "lrs2", r"list.txt:2: has 1 words: must be "),
        ("6330/00012 6331/00099\n", "lrs3", r"list.txt:1: no such file .*6331/00099.mp4"),
        ("../x 6331/00034\n", "lrw", r"list.txt:1: ../x must lie below"),
        ("face voice\n", "resynced", r"list.txt:1: face has no suffix"),
        ("\n", "resynced", r"list.txt: is empty"),
        ("", "lrs2", r"list.txt: is empty"),
    ],
)
def test_invalid_line_is_named(root, text, protocol, message):
    with pytest.raises(InputError, match=message):
        read_lines(root, text, protocol)
