"""Folds and samples of the bootstrap."""

from dataclasses import replace

from preprocess.curation.clip_origin import ClipOrigin, link_recordings
from preprocess.sync.bootstrap import assign_folds, sample_evenly


def test_source_is_in_one_fold():
    origins = [ClipOrigin(f"{s}/{n}", f"{s}.mp4", 100 * n, 100) for s in "abcdefgh" for n in range(3)]
    folds = assign_folds(origins, 3)
    assert all(len({folds[p.clip] for p in origins if p.source == s}) == 1 for s in {p.source for p in origins})
    assert set(folds.values()) == {0, 1, 2}


def test_single_source_is_divided_by_time():
    folds = assign_folds([ClipOrigin(f"a/{n:02d}", "a.mp4", 100 * n, 100) for n in range(9)], 3)
    assert [folds[clip] for clip in sorted(folds)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_duplicates_are_in_one_fold():
    origins = [ClipOrigin(f"{s}/{n}", f"{s}.mp4", 100 * n, 100) for s in "abcdefgh" for n in range(3)]
    copies = [replace(p, clip=f"z{p.clip}", source=f"z{p.source}", first=p.first + 50) for p in origins]
    linked = link_recordings([*origins, *copies], [[p.clip, f"z{p.clip}"] for p in origins])
    folds = assign_folds(linked, 3)
    assert all(folds[origin.clip] == folds[f"z{origin.clip}"] for origin in origins)
    assert set(folds.values()) == {0, 1, 2}


def test_duplicates_of_single_source_are_divided_together():
    origins = [ClipOrigin(f"{s}/{n:02d}", f"{s}.mp4", 100 * n + 30 * (s == "b"), 100) for s in "ab" for n in range(9)]
    folds = assign_folds(link_recordings(origins, [[f"a/{n:02d}", f"b/{n:02d}"] for n in range(9)]), 3)
    assert [folds[f"a/{n:02d}"] for n in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [folds[f"b/{n:02d}"] for n in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_sample_evenly_spreads_over_data_set():
    origins = [ClipOrigin(f"a/{n:02d}", "a.mp4", 100 * n, 100) for n in range(9)]
    assert [origin.first for origin in sample_evenly(origins, 3)] == [0, 400, 800]
