"""Nothing that is held out was seen in training, and the same seed deals the same."""

import random
from itertools import chain, product

import pytest

from preprocess.splits import Dealt, Entry, deal, is_held_out, write_filelists
from wav2lip.clips import read_filelist
from wav2lip.errors import InputError


def clips_of(source: str, group: str, count: int, seconds: float = 4.0, pause: float = 0.0) -> list[Entry]:
    step = seconds + pause
    return [Entry(f"{group}/{source}_{n:05}", f"{group}/{source}", group, n * step, seconds) for n in range(count)]


SPEAKERS = list(chain(*(clips_of(f"v{v}", f"speaker{s:02}", 3) for s in range(20) for v in range(2))))
ONE_FOLDER = list(chain(*(clips_of(f"talk{v}", "talks", 3) for v in range(10))))
ONE_VIDEO = clips_of("v", "g", 100)


def leaks(entries: list[Entry], dealt: Dealt, gap: float, copies: list[list[str]]) -> list[tuple[str, str]]:
    """Pairs of clips in different splits that should not be: copies, or of one source and within the gap."""
    split = dealt.split_of()
    inside = [entry for entry in entries if entry.clip in split]
    alike = {frozenset(pair) for group in copies for pair in product(group, group)}
    return [
        (a.clip, b.clip)
        for a, b in product(inside, inside)
        if split[a.clip] != split[b.clip]
        and (
            frozenset((a.clip, b.clip)) in alike
            or (a.source == b.source and dealt.by != "time")
            or (a.group == b.group and dealt.by == "group")
            or (a.source == b.source and b.start < a.start + a.seconds + gap and a.start < b.start + b.seconds + gap)
        )
    ]


def random_data(seed: int) -> tuple[list[Entry], list[list[str]]]:
    draw = random.Random(seed)
    entries = []
    for source in range(draw.choice([1, 1, 2, 3, 8])):
        group, now = f"g{draw.randrange(4)}", 0.0
        for number in range(draw.randrange(1, 25)):
            for face in range(draw.choice([1, 1, 2])):  # two people at a time
                seconds = draw.uniform(0.5, 10)
                entries.append(Entry(f"{group}/{source}_{number}_{face}", f"s{source}", group, now, seconds))
            now += draw.uniform(0.2, 14)  # some overlap, some lie apart
    names = [entry.clip for entry in entries]
    copies = [draw.sample(names, min(len(names), draw.randrange(2, 4))) for _ in range(draw.randrange(4))]
    return entries, copies


@pytest.mark.parametrize("by", ["auto", "group", "video", "time"])
def test_no_random_data_set_leaks(by):
    held_out = 0
    for seed in range(150):
        entries, copies = random_data(seed)
        gap = seed % 4
        dealt = deal(entries, val=0.15, test=0.1 * (seed % 3), seed=seed, by=by, gap_seconds=gap, copies=copies)
        everything = sorted(entry.clip for entry in entries)
        if is_held_out(dealt.splits):
            held_out += 1
            assert leaks(entries, dealt, gap, copies) == []
            assert sorted([*chain(*dealt.splits.values()), *dealt.left]) == everything  # each once
            assert dealt.splits["train"]
        else:
            assert dealt.splits == {"train": everything, "val": everything, "test": []}
    assert held_out > 120


def test_the_checker_sees_a_leak():
    one, two = clips_of("v", "g", 2)
    assert leaks([one, two], Dealt({"train": [one.clip], "val": [two.clip], "test": []}, "time"), 2, [])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("val", "test"), [(0.05, 0.05), (0.3, 0.4), (0.0, 0.0), (0.9, 0.09)])
def test_no_speaker_is_in_two_splits_and_no_clip_is_lost(seed, val, test):
    dealt = deal(SPEAKERS, val=val, test=test, seed=seed).splits
    speakers = [{clip.split("/")[0] for clip in clips} for clips in dealt.values()]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert sorted(chain(*dealt.values())) == sorted(entry.clip for entry in SPEAKERS)
    assert dealt["train"]
    assert dealt["val"]


def test_the_shares_are_kept_to_the_nearest_source():
    dealt = deal(SPEAKERS, val=0.2, test=0.1).splits
    assert {name: len(clips) for name, clips in dealt.items()} == {"train": 84, "val": 24, "test": 12}


def test_shares_are_of_time_so_the_long_video_is_trained_on():
    long, short = clips_of("long", "g", 900), clips_of("short", "g", 9)
    assert all(deal([*long, *short], seed=seed).splits["val"] == [e.clip for e in short] for seed in range(5))


def test_the_seed_decides_and_the_order_of_the_names_does_not():
    assert deal(SPEAKERS, seed=1) == deal(reversed(SPEAKERS), seed=1)
    assert len({tuple(deal(SPEAKERS, seed=seed).splits["val"]) for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("entries", "by", "held_out"),
    [
        (ONE_FOLDER, "auto", "video"),
        (SPEAKERS, "auto", "group"),
        (SPEAKERS, "video", "video"),
        (SPEAKERS, "group", "group"),
        (ONE_VIDEO, "auto", "time"),
        (ONE_VIDEO, "group", "time"),
        (SPEAKERS, "time", "time"),
    ],
)
def test_a_folder_is_a_source_where_there_are_several(entries, by, held_out):
    assert deal(entries, by=by).by == held_out


def test_of_one_video_the_end_is_validated_on_and_what_comes_before_is_tested_on():
    dealt = deal(ONE_VIDEO, val=0.1, test=0.05, gap_seconds=2)
    number = {entry.clip: n for n, entry in enumerate(ONE_VIDEO)}
    assert [number[clip] for clip in dealt.splits["val"]] == list(range(90, 100))
    assert [number[clip] for clip in dealt.splits["test"]] == list(range(84, 89))  # 5 clips, after a gap
    assert [number[clip] for clip in dealt.splits["train"]] == list(range(83))
    assert {number[clip]: left.cause for clip, left in dealt.left.items()} == dict.fromkeys(
        (83, 89), "gap before held-out clips"
    )
    assert "gap_seconds" in dealt.left[ONE_VIDEO[89].clip].reason


def test_a_pause_as_long_as_the_gap_costs_no_clip():
    assert deal(clips_of("v", "g", 40, pause=2.5), val=0.1, gap_seconds=2).left == {}


def test_sources_that_share_a_recording_go_together():
    copies = [[f"speaker{s:02}/v0_00000" for s in range(0, 20, 2)]]  # ten speakers hang together
    for seed in range(10):
        dealt = deal(SPEAKERS, val=0.3, seed=seed, copies=copies)
        split = dealt.split_of()
        assert len({split[entry.clip] for entry in SPEAKERS if int(entry.group[-2:]) % 2 == 0}) == 1


def test_of_a_single_video_a_copy_of_what_is_held_out_is_not_trained_on():
    early, late = ONE_VIDEO[3].clip, ONE_VIDEO[99].clip
    dealt = deal(ONE_VIDEO, copies=[[early, late]])
    assert dealt.split_of()[late] == "val"
    assert dealt.left[early].cause == "copy of a held-out clip"
    assert late in dealt.left[early].reason


def test_foreign_clips_have_their_folder_for_a_source():
    entries = [Entry.of(f"vid{v}/{n:05}", 3.0, None) for v in range(5) for n in range(4)]
    dealt = deal(entries)
    assert {clip.split("/")[0] for clip in dealt.splits["val"]}.isdisjoint(
        clip.split("/")[0] for clip in dealt.splits["train"]
    )
    alone = deal([Entry.of(f"vid/{n:05}", 3.0, None) for n in range(20)])
    assert alone.splits["val"] == ["vid/00019"]
    assert sorted(alone.left) == ["vid/00016", "vid/00018"]  # before val and before test


def test_a_clip_tells_its_source_and_start_in_clip_json():
    entry = Entry.of("a/b_000100", 4.0, {"source": "a/b.mp4", "start": 4.0})
    assert entry == Entry("a/b_000100", "a/b.mp4", "a", 4.0, 4.0)


def test_a_single_clip_is_validated_on_itself_and_the_user_is_told(tmp_path, caplog):
    dealt = deal(clips_of("v", "a", 1))
    assert dealt.splits == {"train": ["a/v_00000"], "val": ["a/v_00000"], "test": []}
    assert dealt.split_of() == {"a/v_00000": "train"}
    write_filelists(tmp_path, dealt.splits)
    assert "one source only" in caplog.text
    assert "add a second video" in caplog.text


def test_the_lists_are_read_back_and_not_touched_again(tmp_path):
    dealt = deal(SPEAKERS).splits
    write_filelists(tmp_path / "lists", dealt)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()}
    write_filelists(tmp_path / "lists", dealt)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "lists").iterdir()} == before
    assert len(before) == 3
    assert read_filelist(tmp_path / "lists" / "val.txt", tmp_path) == dealt["val"]


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"val": 0.6, "test": 0.5}, r"val=0.6, test=0.5"),
        ({"by": "speaker"}, "split_by=speaker"),
        ({"gap_seconds": -1}, "gap_seconds=-1"),
    ],
)
def test_impossible_wishes_are_named(wish, named):
    with pytest.raises(InputError, match=named):
        deal(SPEAKERS, **wish)
