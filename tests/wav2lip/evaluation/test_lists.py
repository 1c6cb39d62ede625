"""The paper's lists are read as they were published, and a line that cannot be used is named."""

import pytest

from wav2lip.errors import InputError
from wav2lip.evaluation.lists import Pair, read_list


@pytest.fixture
def root(tmp_path):
    for name in ("6330/00012.mp4", "6331/00034.mp4", "ABOUT_00001.mp4", "face.mp4", "voice.wav"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def listed(root, text, protocol, limit=None):
    path = root.parent / "list.txt"
    path.write_text(text)
    return read_list(path, root, protocol, limit)


@pytest.mark.parametrize("protocol", ["lrs2", "lrs3"])
def test_lines_of_lrs_name_the_sound_first_without_endings(root, protocol):
    (pair,) = listed(root, "6330/00012 6331/00034\n", protocol)
    assert pair == Pair(0, face=root / "6331/00034.mp4", audio=root / "6330/00012.mp4")


def test_lines_of_lrw_may_name_clips_without_folder(root):
    (pair,) = listed(root, "ABOUT_00001 6331/00034\n", "lrw")
    assert pair.audio == root / "ABOUT_00001.mp4"


def test_lines_of_resynced_name_the_face_first_with_endings_and_the_last_may_lack_its_newline(root):
    pairs = listed(root, "face.mp4 voice.wav\nface.mp4 6330/00012.mp4", "resynced")
    assert pairs == [
        Pair(0, root / "face.mp4", root / "voice.wav"),
        Pair(1, root / "face.mp4", root / "6330/00012.mp4"),
    ]
    assert len(listed(root, "face.mp4 voice.wav\nface.mp4 6330/00012.mp4", "resynced", limit=1)) == 1


@pytest.mark.parametrize(
    ("text", "protocol", "said"),
    [
        ("6330/00012 6331/00034\n6330/00012\n", "lrs2", r"list.txt:2: has 1 words; it has to be <sound's clip id>"),
        ("6330/00012.mp4 6331/00034.mp4\n", "lrs2", r"list.txt:1: 6330/00012.mp4 has an ending"),
        ("6330/00012 6331/00099\n", "lrs3", r"list.txt:1: there is no .*6331/00099.mp4"),
        ("../x 6331/00034\n", "lrw", r"list.txt:1: ../x leads out of the data root"),
        ("face voice\n", "resynced", r"list.txt:1: face has no ending"),
        ("\n", "resynced", r"list.txt:1: has 0 words; it has to be <face's file name> <sound's file name>"),
        ("", "lrs2", r"list.txt: has no line"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(root, text, protocol, said):
    with pytest.raises(InputError, match=said):
        listed(root, text, protocol)
