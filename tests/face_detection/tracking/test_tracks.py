"""Linking, tracking one face, filling gaps and smoothing: worked examples, and the reference."""

from __future__ import annotations

import time

import numpy as np
import pytest

from face_detection.interface import Face
from face_detection.tracking.tracks import (
    FaceTrack,
    fill_gaps,
    link_faces,
    predict_box,
    smooth_boxes,
    smooth_boxes_public,
    track_single_face,
)
from tests.helpers.goldens import golden

NONE = [np.nan] * 4
LARGE, SMALL, MIDDLE = (0.0, 0.0, 100.0, 100.0), (200.0, 0.0, 250.0, 50.0), (300.0, 0.0, 380.0, 80.0)
TWO_HOURS = 180_000  # frames at 25 fps


def face(box, score=0.9):
    return Face(box, score)


def shift_box(box, by):
    return (box[0] + by, box[1], box[2] + by, box[3])


def boxes_at(lefts):
    """Boxes of 100 x 100 with these left sides; NaN for None."""
    return np.array([NONE if x is None else [x, 0, x + 100, 100] for x in lefts], dtype=np.float32)


def test_single_track_starts_with_the_largest_face():
    tracked = track_single_face([[face(SMALL, 0.99), face(LARGE, 0.6)]])
    assert tracked.dtype == np.float32 and tracked.tolist() == [list(LARGE)]


def test_single_track_keeps_its_face_beside_a_larger_one():
    larger = (150.0, 0.0, 450.0, 300.0)
    tracked = track_single_face([[face(LARGE)], [face(larger), face(shift_box(LARGE, 10))]])
    assert tracked[1].tolist() == list(shift_box(LARGE, 10))


def test_single_track_waits_for_its_face():
    both, without_large = [face(LARGE), face(SMALL)], [face(SMALL)]
    tracked = track_single_face([both, without_large, without_large, both])
    assert np.isnan(tracked[1:3]).all()
    assert tracked[3].tolist() == list(LARGE)


def test_single_track_switches_when_its_face_is_lost():
    tracked = track_single_face([[face(LARGE)]] + [[face(SMALL), face(MIDDLE)]] * 20)
    assert tracked[0].tolist() == list(LARGE)
    assert (tracked[1:] == np.float32(MIDDLE)).all()


def test_single_track_is_nan_without_faces():
    tracked = track_single_face([[], [face(LARGE)], []])
    assert np.isnan(tracked).all(axis=1).tolist() == [True, False, True]
    assert track_single_face([]).shape == (0, 4)


def test_public_track_takes_the_best_face_in_whole_pixels():
    tracked = track_single_face([[face((1.9, 2.2, 30.7, 40.99), 0.99), face(LARGE, 0.6)], []], compat="public")
    assert tracked[0].tolist() == [1, 2, 30, 40]
    assert np.isnan(tracked[1]).all()


def test_gap_is_filled_linearly():
    filled, mask = fill_gaps(boxes_at([0, None, None, None, 40]))
    assert filled[:, 0].tolist() == [0, 10, 20, 30, 40]
    assert filled[:, 2].tolist() == [100, 110, 120, 130, 140]
    assert mask.tolist() == [False, True, True, True, False]


def test_gap_longer_than_the_limit_stays_open():
    boxes = boxes_at([0] + [None] * 6 + [10, None, 20])
    filled, mask = fill_gaps(boxes, max_gap_frames=5)
    assert np.isnan(filled[1:7]).all()
    assert np.flatnonzero(mask).tolist() == [8] and filled[8, 0] == 15
    assert not np.isnan(fill_gaps(boxes, max_gap_frames=6)[0]).any()


def test_nothing_is_filled_outside_the_first_and_last_box():
    filled, mask = fill_gaps(boxes_at([None, None, 5, None, 7, None]))
    assert np.isnan(filled).any(axis=1).tolist() == [True, True, False, False, False, True]
    assert mask.tolist() == [False, False, False, True, False, False]


def test_gap_between_different_faces_stays_open():
    filled, mask = fill_gaps(np.array([LARGE, NONE, MIDDLE], dtype=np.float32))
    assert np.isnan(filled[1]).all() and not mask.any()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_videos_without_faces_pass_through(rows):
    boxes = np.full((rows, 4), np.nan, dtype=np.float32)
    filled, mask = fill_gaps(boxes)
    assert filled.shape == (rows, 4) and mask.shape == (rows,) and not mask.any()
    assert smooth_boxes(boxes).shape == (rows, 4) and np.isnan(smooth_boxes(boxes)).all()


def test_fill_gaps_does_not_modify_its_input():
    boxes = boxes_at([0, None, 10])
    fill_gaps(boxes)
    assert np.isnan(boxes[1]).all()


def test_smoothing_is_a_centered_mean_with_linear_ends():
    lefts = [0, 5, 4, 6, 10, 0, 7]
    smoothed = smooth_boxes(boxes_at(lefts))
    start, end = np.polyfit(range(5), lefts[:5], 1), np.polyfit(range(2, 7), lefts[2:], 1)
    expected = [np.polyval(start, 0), np.polyval(start, 1), 5, 5, 27 / 5, np.polyval(end, 5), np.polyval(end, 6)]
    assert smoothed[:, 0] == pytest.approx(expected, abs=1e-5)
    assert smoothed[:, 2] - smoothed[:, 0] == pytest.approx([100] * 7)
    assert smoothed.dtype == np.float32


def test_short_run_is_smoothed_with_a_smaller_window():
    assert smooth_boxes(boxes_at([3]))[:, 0].tolist() == [3]
    assert smooth_boxes(boxes_at([3, 9]))[:, 0].tolist() == [3, 9]
    # The regression lines through three of the four boxes are flat.
    assert smooth_boxes(boxes_at([0, 6, 0, 6]))[:, 0] == pytest.approx([2, 2, 4, 4])


def test_smoothing_preserves_steady_motion():
    boxes = boxes_at(range(0, 200, 10))
    assert smooth_boxes(boxes) == pytest.approx(boxes)


def test_smoothing_does_not_cross_a_gap():
    smoothed = smooth_boxes(boxes_at([0, 6, 0, None, 50, 50, 50]))
    assert smoothed[:3, 0] == pytest.approx([2, 2, 2])
    assert np.isnan(smoothed[3]).all()
    assert smoothed[4:, 0] == pytest.approx([50, 50, 50])


def test_smoothing_does_not_blend_faces_at_a_cut():
    boxes = np.array([LARGE] * 4 + [MIDDLE] * 4, dtype=np.float32)
    assert (smooth_boxes(boxes) == boxes).all()


def test_even_window_is_rejected():
    with pytest.raises(ValueError, match="odd"):
        smooth_boxes(boxes_at([0, 1]), window=4)


def list_paths(detections, max_gap=6):
    """Frames and left edges of each person."""
    return [
        [(frame, detection.box[0]) for frame, detection in path.items()] for path in link_faces(detections, max_gap)
    ]


def test_linking_does_not_depend_on_detection_order():
    left_box, right_box = LARGE, MIDDLE
    detections = {
        0: [face(left_box), face(right_box)],
        1: [face(shift_box(right_box, 5)), face(shift_box(left_box, 5))],
    }
    assert list_paths(detections) == [[(0, 0), (1, 5)], [(0, 300), (1, 305)]]


def test_assignment_is_optimal_not_greedy():
    # A greedy assignment would give the first its best box and leave none for the second.
    detections = {
        0: [face(shift_box(LARGE, 0)), face(shift_box(LARGE, 40))],
        1: [face(shift_box(LARGE, 30)), face(shift_box(LARGE, -30))],
    }
    assert list_paths(detections) == [[(0, 0), (1, -30)], [(0, 40), (1, 30)]]


def test_crossing_faces_keep_their_direction():
    detections = {n: [face(shift_box(LARGE, 20 * n)), face(shift_box(LARGE, 150 - 20 * n))] for n in range(9)}
    first, second = list_paths(detections)
    assert [left for _, left in first] == [20 * n for n in range(9)]
    assert [left for _, left in second] == [150 - 20 * n for n in range(9)]


def test_linking_starts_and_ends_trajectories():
    detections = {0: [face(LARGE), face(MIDDLE)], 1: [face(LARGE)], 2: [face(LARGE), face(SMALL)]}
    assert list_paths(detections) == [[(0, 0), (1, 0), (2, 0)], [(0, 300)], [(2, 200)]]


def test_linking_bridges_gaps_up_to_the_limit():
    detections = {0: [face(LARGE)], 1: [], 6: [face(LARGE)]}
    assert list_paths(detections, max_gap=6) == [[(0, 0), (6, 0)]]
    assert list_paths(detections, max_gap=5) == [[(0, 0)], [(6, 0)]]


def test_prediction_is_limited_to_the_velocity_time_base():
    path = {0: face(LARGE), 2: face(shift_box(LARGE, 10))}
    assert predict_box(path, 3).tolist() == list(shift_box(LARGE, 15))
    assert predict_box(path, 20).tolist() == list(shift_box(LARGE, 20))
    assert predict_box({4: face(LARGE)}, 9).tolist() == list(LARGE)


def test_linking_without_detections():
    assert link_faces({}, 5) == [] and link_faces({0: [], 3: []}, 5) == []


def test_track_with_inconsistent_shapes_is_rejected():
    with pytest.raises(ValueError, match="scores"):
        FaceTrack(0, np.zeros((3, 4)), np.zeros(2), np.zeros(3, bool))
    with pytest.raises(ValueError, match="landmarks"):
        FaceTrack(0, np.zeros((3, 4)), np.zeros(3), np.zeros(3, bool), np.zeros((2, 5, 2)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 12])
def test_public_smoothing_equals_reference(count):
    arrays = golden("boxes")
    before = arrays[f"smooth_in_{count}"].copy()
    smoothed = smooth_boxes_public(before)
    assert smoothed.dtype.kind == "i"
    np.testing.assert_array_equal(smoothed, arrays[f"smooth_out_{count}"])
    np.testing.assert_array_equal(before, arrays[f"smooth_in_{count}"])


def test_public_smoothing_of_padded_boxes_equals_reference():
    arrays = golden("boxes")
    height, width = arrays["crop_image_hw"]
    padded = arrays["crop_in_rects"] + np.array([0, 0, 0, 10])
    padded = np.stack([padded[:, 0].clip(0), padded[:, 1].clip(0), padded[:, 2].clip(None, width),
                       padded[:, 3].clip(None, height)], axis=1)  # fmt: skip
    crops = smooth_boxes_public(padded)[:, [1, 3, 0, 2]]
    np.testing.assert_array_equal(crops, arrays["crop_0_10_0_0_nosmooth0_y1y2x1x2"])


def test_two_hours_are_smoothed_within_two_seconds():
    boxes = boxes_at(np.sin(np.arange(TWO_HOURS) / 50) * 30 + 100)
    boxes[::97] = np.nan
    start = time.perf_counter()
    smoothed = smooth_boxes(fill_gaps(boxes)[0])
    assert time.perf_counter() - start < 2
    assert np.isnan(smoothed).any(axis=1).sum() == 1  # frame 0 has no box before it
