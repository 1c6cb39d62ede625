"""Tracks from few looks: painted faces whose places are known, and a detector that finds them by their colour."""

from __future__ import annotations

import numpy as np
import pytest

from face_detection.haar import Haar
from face_detection.interface import Face
from face_detection.regions import CANVAS, Region
from face_detection.sparse import track_faces
from face_detection.tracks import fill_gaps, follow, overlap, smooth

HEIGHT, WIDTH = 240, 320
RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
EYES = tuple((0.3 + 0.1 * i, 0.3) for i in range(5))  # landmarks, in shares of the box


class ByColour:
    """Finds rectangles of red, green and blue as faces; keeps the sizes of what it was given."""

    name = "by colour"

    def __init__(self, landmarks=False):
        self.landmarks = landmarks
        self.sizes = []

    def detect(self, frames):
        assert len({frame.shape for frame in frames}) <= 1, "pictures of a batch are of one size"
        self.sizes += [frame.shape[:2] for frame in frames]
        return [[face for channel in range(3) for face in self._faces(frame, channel)] for frame in frames]

    def _faces(self, frame, channel):
        others = np.delete(frame, channel, axis=2).max(axis=2)
        rows, columns = np.nonzero((frame[..., channel] > 125) & (others < 125))
        if len(rows) < 20:
            return
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        points = tuple((left + x * (right - left), top + y * (bottom - top)) for x, y in EYES)
        yield Face((left, top, right, bottom), 0.9, points if self.landmarks else None)


def painted(*faces):
    """A grey frame with rectangles (colour, left, top), 40 wide and 50 high; what lies outside is cut off."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for colour, left, top in faces:
        frame[max(0, top) : max(0, top + 50), max(0, left) : max(0, left + 40)] = colour
    return frame


def box_at(left, top=100):
    return [left, top, left + 40, top + 50]


def follow_painted(frames, cuts=(), detector=None, **options):
    return track_faces(iter(frames), detector or ByColour(), cuts, **{"smooth_window": 1, **options})


def assert_close(boxes, expected):
    np.testing.assert_allclose(boxes, expected, atol=2)  # pixels: a region is shown at another size


def test_a_moving_face_is_where_it_was_painted_in_every_frame():
    lefts = [20 + round(60 * (1 - np.cos(n / 12))) for n in range(80)]
    (track,) = follow_painted([painted((RED, left, 100)) for left in lefts]).tracks
    assert track.start == 0 and not track.filled.any()
    assert_close(track.boxes, [box_at(left) for left in lefts])


def test_frames_between_looks_have_no_score_and_are_not_marked_as_filled():
    (track,) = follow_painted([painted((RED, 100, 100))] * 26, stride=5).tracks
    assert np.flatnonzero(~np.isnan(track.scores)).tolist() == [0, 5, 10, 15, 20, 25]
    assert not track.filled.any()
    assert track.scores[0] == np.float32(0.9)


def test_the_detector_sees_far_less_than_the_frames_and_the_count_is_what_it_saw():
    detector = ByColour()
    frame = np.full((1080, 1920, 3), 128, np.uint8)
    frame[400:600, 900:1060] = RED
    found = follow_painted([frame] * 50, detector=detector)
    assert found.detector_pixels == sum(height * width for height, width in detector.sizes)
    assert found.detector_pixels * 50 < 50 * 1080 * 1920
    assert found.scans + found.looks == len(detector.sizes)
    assert max(max(size) for size in detector.sizes) == 480
    assert (found.frames, found.height, found.width) == (50, 1080, 1920)


def test_two_people_are_two_tracks_from_left_to_right():
    found = follow_painted([painted((GREEN, 200, 100), (RED, 20, 100))] * 30)
    assert [track.start for track in found.tracks] == [0, 0]
    assert_close(found.tracks[0].boxes, [box_at(20)] * 30)
    assert_close(found.tracks[1].boxes, [box_at(200)] * 30)


def test_two_people_who_pass_each_other_keep_their_tracks():
    ways = [(20 + 5 * n, 255 - 5 * n) for n in range(48)]
    frames = [painted((RED, red, 70), (GREEN, green, 110)) for red, green in ways]
    found = follow_painted(frames)
    assert len(found.tracks) == 2
    assert_close(found.tracks[0].boxes[-1], box_at(ways[-1][0], 70))
    assert_close(found.tracks[1].boxes[-1], box_at(ways[-1][1], 110))


def test_who_comes_between_two_scans_is_there_from_the_first_frame_on_and_who_leaves_to_the_last():
    frames = [painted(*[(RED, 20, 100)] * (n < 37), *[(GREEN, 200, 100)] * (n >= 12)) for n in range(60)]
    red, green = follow_painted(frames).tracks
    assert (red.start, red.stop) == (0, 37)
    assert (green.start, green.stop) == (12, 60)


def test_no_track_crosses_a_cut():
    frames = [painted((RED, 100, 100))] * 33
    tracks = follow_painted(frames, cuts=[10, 11]).tracks
    assert [(track.start, track.stop) for track in tracks] == [(0, 10), (10, 11), (11, 33)]


def test_a_short_absence_is_bridged_and_marked_and_a_long_one_ends_the_track():
    hidden = {20, 21, 22} | set(range(40, 50))
    frames = [painted(*[(RED, 100 + n, 100)] * (n not in hidden)) for n in range(70)]
    before, after = follow_painted(frames, stride=1, longest_gap=5).tracks
    assert (before.start, before.stop, after.start, after.stop) == (0, 40, 50, 70)
    assert np.flatnonzero(before.filled).tolist() == [20, 21, 22]
    assert np.isnan(before.scores[20:23]).all()
    assert_close(before.boxes[21], box_at(121))


def test_a_face_that_a_scan_misses_goes_on():
    frames = [painted((RED, 100, 100)) if n != 25 else painted() for n in range(60)]  # 25 is scanned
    (track,) = follow_painted(frames).tracks
    assert (track.start, track.stop) == (0, 60)
    assert np.flatnonzero(track.filled).tolist() == [25]


def test_a_face_faster_than_its_region_is_wide_is_followed():
    lefts = [10 + 8 * min(n, 30 - n) for n in range(31)]  # there and back between two looks at the whole frame
    (track,) = follow_painted([painted((RED, left, 100)) for left in lefts], stride=1, scan_every=30).tracks
    assert_close(track.boxes, [box_at(left) for left in lefts])


def test_a_face_at_the_border_is_found():
    (track,) = follow_painted([painted((RED, 0, HEIGHT - 50))] * 10).tracks
    assert_close(track.boxes, [[0, HEIGHT - 50, 40, HEIGHT]] * 10)


def test_landmarks_are_in_pixels_of_the_frame_and_interpolated():
    lefts = [50 + 2 * n for n in range(26)]
    frames = [painted((RED, left, 100)) for left in lefts]
    (track,) = follow_painted(frames, detector=ByColour(landmarks=True), stride=5).tracks
    expected = [[(left + x * 40, 100 + y * 50) for x, y in EYES] for left in lefts]
    assert_close(track.landmarks, expected)
    assert follow_painted(frames).tracks[0].landmarks is None


def test_boxes_are_smoothed_over_the_window():
    frames = [painted((RED, 100 + 4 * (n % 2), 100)) for n in range(30)]
    (track,) = follow_painted(frames, stride=1, smooth_window=13).tracks
    assert np.ptp(track.boxes[:, 0]) < 1.5


def test_one_frame_gives_a_track_of_one_frame():
    (track,) = follow_painted([painted((RED, 100, 100))]).tracks
    assert track.start == 0 and track.boxes.shape == (1, 4)


def test_no_frames_and_no_faces_give_no_tracks():
    nothing = follow_painted([])
    assert (nothing.tracks, nothing.frames, nothing.detector_pixels) == ([], 0, 0)
    empty = follow_painted([painted()] * 51)
    assert (empty.tracks, empty.frames, empty.looks, empty.scans) == ([], 51, 0, 3)


def test_no_more_frames_are_held_than_fit(monkeypatch):
    monkeypatch.setattr("face_detection.sparse.HELD_BYTES", 4 * HEIGHT * WIDTH * 3)
    found = follow_painted([painted((RED, 100, 100))] * 21)
    assert found.scans == 6  # frames 0, 4, 8, 12, 16, 20
    assert [(track.start, track.stop) for track in found.tracks] == [(0, 21)]


def test_progress_is_told_the_number_of_frames():
    told = []
    follow_painted([painted()] * 3, progress=told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("options", [{"stride": 0}, {"scan_every": 0}, {"longest_gap": -1}])
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        follow_painted([], **options)


@pytest.mark.parametrize("box", [[-30, -40, 10, 5], [300, 200, 340, 250], [0, 0, 320, 240], [5, 5, 6, 6]])
def test_a_region_lies_within_the_frame_and_would_find_the_face_it_was_made_for(box):
    for finer in (False, True):
        region = Region.around(np.array(box, float), HEIGHT, WIDTH, finer=finer)
        assert 0 <= region.left <= WIDTH - region.side and 0 <= region.top <= HEIGHT - region.side
        assert region.near(Region.around(np.array(box, float), HEIGHT, WIDTH))
        assert region.picture(painted()).shape == (region.canvas, region.canvas, 3)
        assert 0.95 * CANVAS <= region.canvas <= 1.1 * CANVAS


def test_a_face_cut_off_by_the_region_is_left_to_another():
    region = Region.around(np.array([100.0, 100, 140, 150]), HEIGHT, WIDTH)
    scale = region.canvas / region.side
    at_the_edge = Face((0.0, 60.0, 40 * scale, 60 + 50 * scale), 0.9)
    assert region.faces([at_the_edge], HEIGHT, WIDTH) == []


@pytest.mark.slow
def test_on_a_real_clip_boxes_are_those_of_every_full_size_frame_at_a_tenth_of_the_pixels(shared_media):
    media = pytest.importorskip("wav2lip.media")
    frames = list(media.read_frames(shared_media / "speaker_c_590_25fps.mp4", 25))
    reference = smooth(fill_gaps(follow(Haar(max_side=10_000).detect(frames)))[0], 13)
    found = track_faces(frames, Haar())
    (track,) = found.tracks
    assert (overlap(track.boxes, reference) >= 0.9).mean() >= 0.99
    assert found.detector_pixels * 10 <= sum(frame.shape[0] * frame.shape[1] for frame in frames)
