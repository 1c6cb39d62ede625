"""Splits without leakage, the same for the same seed."""

import random
from itertools import chain, product

import pytest

from preprocess.curation.filelists import write_filelists
from preprocess.curation.splits import (
    SplitAssignment,
    SplitEntry,
    SplitSettings,
    assign_splits,
    is_held_out,
)
from wav2lip.errors import InputError


def make_entries(source: str, group: str, count: int, seconds: float = 4.0, pause: float = 0.0) -> list[SplitEntry]:
    step = seconds + pause
    return [SplitEntry(f"{group}/{source}_{n:05}", f"{group}/{source}", group, n * step, seconds) for n in range(count)]


def split(entries, duplicates=(), **settings) -> SplitAssignment:
    return assign_splits(entries, SplitSettings(**settings), duplicates)


SPEAKERS = list(chain(*(make_entries(f"v{v}", f"speaker{s:02}", 3) for s in range(20) for v in range(2))))
ONE_FOLDER = list(chain(*(make_entries(f"talk{v}", "talks", 3) for v in range(10))))
ONE_VIDEO = make_entries("v", "g", 100)


def find_leaks(
    entries: list[SplitEntry], assignment: SplitAssignment, gap: float, copies: list[list[str]]
) -> list[tuple[str, str]]:
    """Return pairs of clips in different splits that are duplicates, or of one source and within the gap."""
    splits = assignment.split_by_clip()
    listed = [entry for entry in entries if entry.clip in splits]
    duplicates = {frozenset(pair) for group in copies for pair in product(group, group)}
    return [
        (a.clip, b.clip)
        for a, b in product(listed, listed)
        if splits[a.clip] != splits[b.clip]
        and (
            frozenset((a.clip, b.clip)) in duplicates
            or (a.source == b.source and assignment.by != "time")
            or (a.group == b.group and assignment.by == "group")
            or (a.source == b.source and b.start < a.start + a.seconds + gap and a.start < b.start + b.seconds + gap)
        )
    ]


def random_data(seed: int) -> tuple[list[SplitEntry], list[list[str]]]:
    rng = random.Random(seed)
    entries = []
    for source in range(rng.choice([1, 1, 2, 3, 8])):
        group, time = f"g{rng.randrange(4)}", 0.0
        for number in range(rng.randrange(1, 25)):
            for face in range(rng.choice([1, 1, 2])):  # two people at a time
                seconds = rng.uniform(0.5, 10)
                entries.append(SplitEntry(f"{group}/{source}_{number}_{face}", f"s{source}", group, time, seconds))
            time += rng.uniform(0.2, 14)  # some overlap, some lie apart
    names = [entry.clip for entry in entries]
    copies = [rng.sample(names, min(len(names), rng.randrange(2, 4))) for _ in range(rng.randrange(4))]
    return entries, copies


@pytest.mark.parametrize("by", ["auto", "group", "video", "time"])
def test_random_data_sets_do_not_leak(by):
    held_out = 0
    for seed in range(150):
        entries, copies = random_data(seed)
        gap = seed % 4
        assignment = split(
            entries, val=0.15, test=0.1 * (seed % 3), seed=seed, by=by, gap_seconds=gap, duplicates=copies
        )
        all_clips = sorted(entry.clip for entry in entries)
        if is_held_out(assignment.splits):
            held_out += 1
            assert find_leaks(entries, assignment, gap, copies) == []
            assert sorted([*chain(*assignment.splits.values()), *assignment.excluded]) == all_clips  # each once
            assert assignment.splits["train"]
        else:
            assert assignment.splits == {"train": all_clips, "val": all_clips, "test": []}
    assert held_out > 120


def test_leak_checker_detects_leak():
    first, second = make_entries("v", "g", 2)
    assert find_leaks(
        [first, second], SplitAssignment({"train": [first.clip], "val": [second.clip], "test": []}, "time"), 2, []
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("val", "test"), [(0.05, 0.05), (0.3, 0.4), (0.0, 0.0), (0.9, 0.09)])
def test_speakers_are_in_one_split_and_no_clip_is_lost(seed, val, test):
    assignment = split(SPEAKERS, val=val, test=test, seed=seed).splits
    speakers = [{clip.split("/")[0] for clip in clips} for clips in assignment.values()]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    assert sorted(chain(*assignment.values())) == sorted(entry.clip for entry in SPEAKERS)
    assert assignment["train"]
    assert assignment["val"]


def test_fractions_are_met_to_nearest_source():
    assignment = split(SPEAKERS, val=0.2, test=0.1).splits
    assert {name: len(clips) for name, clips in assignment.items()} == {"train": 84, "val": 24, "test": 12}


def test_fractions_are_of_time():
    long, short = make_entries("long", "g", 900), make_entries("short", "g", 9)
    assert all(split([*long, *short], seed=seed).splits["val"] == [e.clip for e in short] for seed in range(5))


def test_seed_decides_and_input_order_does_not():
    assert split(SPEAKERS, seed=1) == split(reversed(SPEAKERS), seed=1)
    assert len({tuple(split(SPEAKERS, seed=seed).splits["val"]) for seed in range(8)}) > 1


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
def test_split_unit_depends_on_data(entries, by, held_out):
    assert split(entries, by=by).by == held_out


def test_end_of_single_video_is_held_out():
    assignment = split(ONE_VIDEO, val=0.1, test=0.05, gap_seconds=2)
    number = {entry.clip: n for n, entry in enumerate(ONE_VIDEO)}
    assert [number[clip] for clip in assignment.splits["val"]] == list(range(90, 100))
    assert [number[clip] for clip in assignment.splits["test"]] == list(range(84, 89))  # 5 clips, after a gap
    assert [number[clip] for clip in assignment.splits["train"]] == list(range(83))
    assert {number[clip]: ex.cause for clip, ex in assignment.excluded.items()} == dict.fromkeys(
        (83, 89), "gap before held-out clips"
    )
    assert "gap_seconds" in assignment.excluded[ONE_VIDEO[89].clip].reason


def test_pause_as_long_as_gap_excludes_no_clip():
    assert split(make_entries("v", "g", 40, pause=2.5), val=0.1, gap_seconds=2).excluded == {}


def test_sources_with_duplicates_stay_together():
    copies = [[f"speaker{s:02}/v0_00000" for s in range(0, 20, 2)]]  # ten speakers share a recording
    for seed in range(10):
        assignment = split(SPEAKERS, val=0.3, seed=seed, duplicates=copies)
        splits = assignment.split_by_clip()
        assert len({splits[entry.clip] for entry in SPEAKERS if int(entry.group[-2:]) % 2 == 0}) == 1


def test_duplicate_of_held_out_clip_is_excluded():
    early, late = ONE_VIDEO[3].clip, ONE_VIDEO[99].clip
    assignment = split(ONE_VIDEO, duplicates=[[early, late]])
    assert assignment.split_by_clip()[late] == "val"
    assert assignment.excluded[early].cause == "copy of a held-out clip"
    assert late in assignment.excluded[early].reason


def test_foreign_clips_use_folder_as_source():
    entries = [SplitEntry.from_info(f"vid{v}/{n:05}", 3.0, None) for v in range(5) for n in range(4)]
    assignment = split(entries)
    assert {clip.split("/")[0] for clip in assignment.splits["val"]}.isdisjoint(
        clip.split("/")[0] for clip in assignment.splits["train"]
    )
    single_folder = split([SplitEntry.from_info(f"vid/{n:05}", 3.0, None) for n in range(20)])
    assert single_folder.splits["val"] == ["vid/00019"]
    assert sorted(single_folder.excluded) == ["vid/00016", "vid/00018"]  # before val and before test


def test_entry_reads_source_and_start_from_clip_json():
    entry = SplitEntry.from_info("a/b_000100", 4.0, {"source": "a/b.mp4", "start": 4.0})
    assert entry == SplitEntry("a/b_000100", "a/b.mp4", "a", 4.0, 4.0)


def test_single_clip_validates_on_itself_with_warning(tmp_path, caplog):
    assignment = split(make_entries("v", "a", 1))
    assert assignment.splits == {"train": ["a/v_00000"], "val": ["a/v_00000"], "test": []}
    assert assignment.split_by_clip() == {"a/v_00000": "train"}
    write_filelists(tmp_path, assignment.splits)
    assert "add a second video" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0.6, "test": 0.5}, r"val=0.6, test=0.5"),
        ({"by": "speaker"}, "split_by=speaker"),
        ({"gap_seconds": -1}, "gap_seconds=-1"),
    ],
)
def test_invalid_settings_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        SplitSettings(**options)
