"""Following a face, filling gaps, smoothing: by hand and against the reference."""

from __future__ import annotations

import time

import numpy as np
import pytest

from face_detection.interface import Face
from face_detection.tracks import FaceTrack, expected, fill_gaps, follow, link, smooth, smooth_public
from tests.reference import golden

NONE = [np.nan] * 4
LARGE, SMALL, MIDDLE = (0.0, 0.0, 100.0, 100.0), (200.0, 0.0, 250.0, 50.0), (300.0, 0.0, 380.0, 80.0)
TWO_HOURS = 180_000  # frames at 25 a second


def face(box, score=0.9):
    return Face(box, score)


def shifted(box, by):
    return (box[0] + by, box[1], box[2] + by, box[3])


def boxes_at(lefts):
    """Boxes 100 x 100 with these left sides, NaN where None."""
    return np.array([NONE if x is None else [x, 0, x + 100, 100] for x in lefts], dtype=np.float32)


def test_follow_starts_with_the_largest_face_not_the_most_certain():
    tracked = follow([[face(SMALL, 0.99), face(LARGE, 0.6)]])
    assert tracked.dtype == np.float32 and tracked.tolist() == [list(LARGE)]


def test_follow_stays_with_its_face_when_a_larger_one_comes():
    huge = (150.0, 0.0, 450.0, 300.0)
    tracked = follow([[face(LARGE)], [face(huge), face(shifted(LARGE, 10))]])
    assert tracked[1].tolist() == list(shifted(LARGE, 10))


def test_follow_waits_for_its_face_while_only_another_is_seen():
    both, other = [face(LARGE), face(SMALL)], [face(SMALL)]
    tracked = follow([both, other, other, both])
    assert np.isnan(tracked[1:3]).all()
    assert tracked[3].tolist() == list(LARGE)


def test_follow_takes_the_largest_of_the_others_once_its_face_is_gone_for_good():
    tracked = follow([[face(LARGE)]] + [[face(SMALL), face(MIDDLE)]] * 20)
    assert tracked[0].tolist() == list(LARGE)
    assert (tracked[1:] == np.float32(MIDDLE)).all()


def test_follow_gives_nan_rows_where_no_face_is():
    tracked = follow([[], [face(LARGE)], []])
    assert np.isnan(tracked).all(axis=1).tolist() == [True, False, True]
    assert follow([]).shape == (0, 4)


def test_public_follow_takes_the_most_certain_face_in_whole_pixels():
    tracked = follow([[face((1.9, 2.2, 30.7, 40.99), 0.99), face(LARGE, 0.6)], []], compat="public")
    assert tracked[0].tolist() == [1, 2, 30, 40]
    assert np.isnan(tracked[1]).all()


def test_a_gap_is_filled_by_a_straight_line():
    filled, mask = fill_gaps(boxes_at([0, None, None, None, 40]))
    assert filled[:, 0].tolist() == [0, 10, 20, 30, 40]
    assert filled[:, 2].tolist() == [100, 110, 120, 130, 140]
    assert mask.tolist() == [False, True, True, True, False]


def test_a_gap_longer_than_the_limit_stays_open():
    boxes = boxes_at([0] + [None] * 6 + [10, None, 20])
    filled, mask = fill_gaps(boxes, longest=5)
    assert np.isnan(filled[1:7]).all()
    assert np.flatnonzero(mask).tolist() == [8] and filled[8, 0] == 15
    assert not np.isnan(fill_gaps(boxes, longest=6)[0]).any()


def test_nothing_is_filled_before_the_first_or_after_the_last_box():
    filled, mask = fill_gaps(boxes_at([None, None, 5, None, 7, None]))
    assert np.isnan(filled).any(axis=1).tolist() == [True, True, False, False, False, True]
    assert mask.tolist() == [False, False, False, True, False, False]


def test_a_gap_between_two_different_faces_stays_open():
    filled, mask = fill_gaps(np.array([LARGE, NONE, MIDDLE], dtype=np.float32))
    assert np.isnan(filled[1]).all() and not mask.any()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_videos_without_faces_or_of_one_frame_pass_through(rows):
    boxes = np.full((rows, 4), np.nan, dtype=np.float32)
    filled, mask = fill_gaps(boxes)
    assert filled.shape == (rows, 4) and mask.shape == (rows,) and not mask.any()
    assert smooth(boxes).shape == (rows, 4) and np.isnan(smooth(boxes)).all()


def test_fill_gaps_leaves_its_input_alone():
    boxes = boxes_at([0, None, 10])
    fill_gaps(boxes)
    assert np.isnan(boxes[1]).all()


def test_smoothing_is_a_centred_mean_and_at_the_ends_the_line_that_fits_the_last_window_best():
    lefts = [0, 5, 4, 6, 10, 0, 7]
    smoothed = smooth(boxes_at(lefts))
    start, end = np.polyfit(range(5), lefts[:5], 1), np.polyfit(range(2, 7), lefts[2:], 1)
    expected = [np.polyval(start, 0), np.polyval(start, 1), 5, 5, 27 / 5, np.polyval(end, 5), np.polyval(end, 6)]
    assert smoothed[:, 0] == pytest.approx(expected, abs=1e-5)
    assert smoothed[:, 2] - smoothed[:, 0] == pytest.approx([100] * 7)
    assert smoothed.dtype == np.float32


def test_a_run_shorter_than_the_window_is_smoothed_over_what_there_is():
    assert smooth(boxes_at([3]))[:, 0].tolist() == [3]
    assert smooth(boxes_at([3, 9]))[:, 0].tolist() == [3, 9]
    assert smooth(boxes_at([0, 6, 0, 6]))[:, 0] == pytest.approx([2, 2, 4, 4])  # lines through three of them are flat


def test_smoothing_leaves_a_face_that_moves_steadily_where_it_is():
    boxes = boxes_at(range(0, 200, 10))
    assert smooth(boxes) == pytest.approx(boxes)


def test_smoothing_does_not_reach_across_a_gap():
    smoothed = smooth(boxes_at([0, 6, 0, None, 50, 50, 50]))
    assert smoothed[:3, 0] == pytest.approx([2, 2, 2])
    assert np.isnan(smoothed[3]).all()
    assert smoothed[4:, 0] == pytest.approx([50, 50, 50])


def test_smoothing_does_not_blend_two_faces_at_a_cut():
    boxes = np.array([LARGE] * 4 + [MIDDLE] * 4, dtype=np.float32)
    assert (smooth(boxes) == boxes).all()


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="odd"):
        smooth(boxes_at([0, 1]), window=4)


def paths(found, reach=6):
    """Frames and left edges of each person."""
    return [[(frame, sighting.box[0]) for frame, sighting in path.items()] for path in link(found, reach)]


def test_faces_of_two_people_are_joined_into_two_whatever_their_order():
    near, far = LARGE, MIDDLE
    found = {0: [face(near), face(far)], 1: [face(shifted(far, 5)), face(shifted(near, 5))]}
    assert paths(found) == [[(0, 0), (1, 5)], [(0, 300), (1, 305)]]


def test_people_are_assigned_together_and_not_one_after_the_other():
    # Taken one by one, the first would take the box that overlaps it best, and nothing would be left for the second.
    found = {
        0: [face(shifted(LARGE, 0)), face(shifted(LARGE, 40))],
        1: [face(shifted(LARGE, 30)), face(shifted(LARGE, -30))],
    }
    assert paths(found) == [[(0, 0), (1, -30)], [(0, 40), (1, 30)]]


def test_two_who_cross_keep_their_direction():
    found = {n: [face(shifted(LARGE, 20 * n)), face(shifted(LARGE, 150 - 20 * n))] for n in range(9)}
    first, second = paths(found)
    assert [left for _, left in first] == [20 * n for n in range(9)]
    assert [left for _, left in second] == [150 - 20 * n for n in range(9)]


def test_who_leaves_ends_and_who_comes_begins():
    found = {0: [face(LARGE), face(MIDDLE)], 1: [face(LARGE)], 2: [face(LARGE), face(SMALL)]}
    assert paths(found) == [[(0, 0), (1, 0), (2, 0)], [(0, 300)], [(2, 200)]]


def test_an_absence_up_to_the_reach_is_bridged_and_a_longer_one_is_not():
    found = {0: [face(LARGE)], 1: [], 6: [face(LARGE)]}
    assert paths(found, reach=6) == [[(0, 0), (6, 0)]]
    assert paths(found, reach=5) == [[(0, 0)], [(6, 0)]]


def test_a_face_is_expected_to_move_on_for_no_longer_than_its_speed_is_known():
    path = {0: face(LARGE), 2: face(shifted(LARGE, 10))}
    assert expected(path, 3).tolist() == list(shifted(LARGE, 15))
    assert expected(path, 20).tolist() == list(shifted(LARGE, 20))
    assert expected({4: face(LARGE)}, 9).tolist() == list(LARGE)


def test_nothing_found_links_to_nobody():
    assert link({}, 5) == [] and link({0: [], 3: []}, 5) == []


def test_a_track_with_boxes_and_scores_of_different_length_is_refused():
    with pytest.raises(ValueError, match="box, a score and a mark"):
        FaceTrack(0, np.zeros((3, 4)), np.zeros(2), np.zeros(3, bool))
    with pytest.raises(ValueError, match="landmarks"):
        FaceTrack(0, np.zeros((3, 4)), np.zeros(3), np.zeros(3, bool), np.zeros((2, 5, 2)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 12])
def test_public_smoothing_is_exactly_that_of_the_reference(count):
    arrays = golden("boxes")
    before = arrays[f"smooth_in_{count}"].copy()
    smoothed = smooth_public(before)
    assert smoothed.dtype.kind == "i"
    np.testing.assert_array_equal(smoothed, arrays[f"smooth_out_{count}"])
    np.testing.assert_array_equal(before, arrays[f"smooth_in_{count}"])


def test_public_smoothing_of_padded_boxes_gives_the_reference_crops():
    arrays = golden("boxes")
    height, width = arrays["crop_image_hw"]
    padded = arrays["crop_in_rects"] + np.array([0, 0, 0, 10])
    padded = np.stack([padded[:, 0].clip(0), padded[:, 1].clip(0), padded[:, 2].clip(None, width),
                       padded[:, 3].clip(None, height)], axis=1)  # fmt: skip
    crops = smooth_public(padded)[:, [1, 3, 0, 2]]
    np.testing.assert_array_equal(crops, arrays["crop_0_10_0_0_nosmooth0_y1y2x1x2"])


def test_two_hours_are_filled_and_smoothed_in_a_moment():
    boxes = boxes_at(np.sin(np.arange(TWO_HOURS) / 50) * 30 + 100)
    boxes[::97] = np.nan
    start = time.perf_counter()
    smoothed = smooth(fill_gaps(boxes)[0])
    assert time.perf_counter() - start < 2
    assert np.isnan(smoothed).any(axis=1).sum() == 1  # frame 0: nothing before it
