"""Division of face tracks into clips."""

import numpy as np
import pytest

from face_detection.tracking.tracks import FaceTrack
from preprocess.stages.segments import divide_span, select_pieces
from preprocess.video_chunks import merge_spans, subtract_spans


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
def test_divide_span_gives_equal_lengths_within_limits(frames, expected):
    spans = divide_span((40, 40 + frames), min_frames=75, max_frames=250)
    assert [last - first for first, last in spans] == expected
    assert as_set(spans) <= set(range(40, 40 + frames))
    if expected:
        assert as_set(spans) == set(range(40, 40 + frames))


def test_divide_span_drops_remainder():
    # 2.2 s with clips of 1.5 to 2.0 s: one of 2.0 s, because two of 1.1 s would be too short.
    assert divide_span((0, 55), min_frames=38, max_frames=50) == [(0, 50)]


def test_divide_span_keeps_limits_for_random_spans():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        min_frames = int(rng.integers(16, 100))
        max_frames = int(rng.integers(min_frames, 300))
        frames = int(rng.integers(0, 1200))
        spans = divide_span((7, 7 + frames), min_frames, max_frames)
        lengths = [last - first for first, last in spans]
        assert all(min_frames <= length <= max_frames for length in lengths)
        assert sum(lengths) == len(as_set(spans))
        assert frames - sum(lengths) < max(min_frames, 1) or frames < min_frames


def test_merge_and_subtract_spans_match_sets():
    rng = np.random.default_rng(1)
    for _ in range(500):
        spans = [(int(a), int(a + b)) for a, b in zip(rng.integers(0, 60, 5), rng.integers(1, 20, 5), strict=True)]
        assert as_set(merge_spans(spans)) == as_set(spans)
        assert all(a[1] < b[0] for a, b in zip(merge_spans(spans), merge_spans(spans)[1:], strict=False))
        assert as_set(subtract_spans((10, 50), spans)) == set(range(10, 50)) - as_set(spans)


def test_select_pieces_keeps_largest_face():
    tracks = [track(0, 100, 50), track(50, 150, 80), track(220, 30, 20)]
    pieces = select_pieces(tracks, "largest")
    assert sorted((piece.track, piece.first, piece.last) for piece in pieces) == [
        (0, 0, 50),
        (1, 50, 200),
        (2, 220, 250),
    ]


@pytest.mark.parametrize("face_policy", ["all", "speaking"])
def test_select_pieces_keeps_all_faces(face_policy):
    tracks = [track(0, 100, 50), track(50, 150, 80)]
    pieces = select_pieces(tracks, face_policy)
    assert sorted((piece.track, piece.first, piece.last) for piece in pieces) == [(0, 0, 100), (1, 50, 200)]
