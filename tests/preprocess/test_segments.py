"""Tracks become clips of a sensible length, no second twice, and what is left out is told."""

import numpy as np
import pytest

from face_detection.tracks import FaceTrack
from preprocess.segments import cut_up, pieces_kept, union, without


def track(start, frames, side):
    boxes = np.tile(np.array([0, 0, side, side], np.float32), (frames, 1))
    return FaceTrack(start, boxes, np.ones(frames, np.float32), np.zeros(frames, bool), None)


def as_set(spans):
    return {frame for first, last in spans for frame in range(first, last)}


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (74, []),  # shorter than 3 s
        (75, [75]),
        (250, [250]),
        (251, [125, 126]),
        (1001, [200, 200, 200, 200, 201]),
        (0, []),
    ],
)
def test_a_stretch_is_cut_into_equal_clips_of_three_to_ten_seconds(frames, expected):
    spans = cut_up((40, 40 + frames), shortest=75, longest=250)
    assert [last - first for first, last in spans] == expected
    assert as_set(spans) <= set(range(40, 40 + frames))
    if expected:
        assert as_set(spans) == set(range(40, 40 + frames))


def test_a_rest_is_left_over_where_equal_lengths_would_be_too_short():
    # 2.2 s with clips of 2.0 s at most and 1.5 s at least: one of 2.0 s; two of 1.1 s would be too short.
    assert cut_up((0, 55), shortest=38, longest=50) == [(0, 50)]


def test_random_cuts_keep_to_the_lengths_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        shortest = int(rng.integers(16, 100))
        longest = int(rng.integers(shortest, 300))
        frames = int(rng.integers(0, 1200))
        spans = cut_up((7, 7 + frames), shortest, longest)
        lengths = [last - first for first, last in spans]
        assert all(shortest <= length <= longest for length in lengths)
        assert sum(lengths) == len(as_set(spans))
        assert frames - sum(lengths) < max(shortest, 1) or frames < shortest


def test_spans_are_the_sets_of_their_frames():
    rng = np.random.default_rng(1)
    for _ in range(500):
        spans = [(int(a), int(a + b)) for a, b in zip(rng.integers(0, 60, 5), rng.integers(1, 20, 5), strict=True)]
        assert as_set(union(spans)) == as_set(spans)
        assert all(a[1] < b[0] for a, b in zip(union(spans), union(spans)[1:], strict=False))
        assert as_set(without((10, 50), spans)) == set(range(10, 50)) - as_set(spans)


def test_the_largest_face_is_kept_and_a_smaller_one_only_where_it_is_alone():
    tracks = [track(0, 100, 50), track(50, 150, 80), track(220, 30, 20)]
    kept = pieces_kept(tracks, "largest")
    assert sorted((piece.track, piece.first, piece.last) for piece in kept) == [(0, 0, 50), (1, 50, 200), (2, 220, 250)]


@pytest.mark.parametrize("keep", ["all", "speaking"])
def test_all_faces_are_kept_where_it_is_not_known_yet_who_speaks(keep):
    tracks = [track(0, 100, 50), track(50, 150, 80)]
    kept = pieces_kept(tracks, keep)
    assert sorted((piece.track, piece.first, piece.last) for piece in kept) == [(0, 0, 100), (1, 50, 200)]
