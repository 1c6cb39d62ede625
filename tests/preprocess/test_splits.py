"""No source is on both sides, and the same seed deals the same."""

from itertools import chain

import pytest

from preprocess.splits import is_held_out, split, write_filelists
from wav2lip.clips import read_filelist
from wav2lip.errors import InputError

SPEAKERS = [f"speaker{s:02}/{n:05}" for s in range(20) for n in range(5)]
ONE_FOLDER = [f"talks/{n:05}" for n in range(10)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("val", "test"), [(0.05, 0.05), (0.3, 0.4), (0.0, 0.0), (0.9, 0.09)])
def test_no_speaker_is_in_two_splits_and_no_clip_is_lost(seed, val, test):
    dealt = split(SPEAKERS, val, test, seed)
    speakers = [{clip.split("/")[0] for clip in clips} for clips in dealt.values()]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert sorted(chain(*dealt.values())) == sorted(SPEAKERS)
    assert dealt["train"]
    assert dealt["val"]


def test_the_shares_are_kept_to_the_nearest_source():
    dealt = split(SPEAKERS, 0.2, 0.1)
    assert {name: len(clips) for name, clips in dealt.items()} == {"train": 70, "val": 20, "test": 10}


def test_the_seed_decides_and_the_order_of_the_names_does_not():
    assert split(SPEAKERS, seed=1) == split(reversed(SPEAKERS), seed=1)
    assert len({tuple(split(SPEAKERS, seed=seed)["val"]) for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("clips", "by", "together"),
    [(ONE_FOLDER, "auto", False), (SPEAKERS, "auto", True), (SPEAKERS, "video", False), (SPEAKERS, "group", True)],
)
def test_a_folder_is_a_source_where_there_are_several(clips, by, together):
    held_out = split(clips, 0.1, 0.0, by=by)["val"]
    groups = {clip.split("/")[0] for clip in held_out}
    assert (sum(clip.split("/")[0] in groups for clip in clips) == len(held_out)) == together


def test_two_sources_give_one_to_validate_on():
    dealt = split(["a/00000", "b/00000"])
    assert sorted(map(len, dealt.values())) == [0, 1, 1]
    assert is_held_out(dealt)


def test_a_single_source_is_validated_on_itself_and_the_user_is_told(tmp_path, caplog):
    dealt = split(["a/00000"])
    assert dealt == {"train": ["a/00000"], "val": ["a/00000"], "test": []}
    write_filelists(tmp_path, dealt)
    assert "one source only" in caplog.text
    assert "add a second video" in caplog.text


def test_the_lists_are_read_back_and_not_touched_again(tmp_path):
    dealt = split(SPEAKERS)
    write_filelists(tmp_path / "lists", dealt)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()}
    write_filelists(tmp_path / "lists", dealt)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()} == before
    assert len(before) == 3
    assert read_filelist(tmp_path / "lists" / "val.txt", tmp_path) == dealt["val"]


def test_impossible_wishes_are_named():
    from preprocess.pipeline import Shares

    with pytest.raises(InputError, match=r"val=0.6, test=0.5"):
        Shares(0.6, 0.5)
    with pytest.raises(InputError, match="split_by=speaker"):
        split(SPEAKERS, by="speaker")
