"""track_faces on drawn faces at known positions, with a detector of colors."""

from __future__ import annotations

import numpy as np
import pytest

from face_detection.detectors.haar import Haar
from face_detection.tracking.offline_tracker import track_faces
from face_detection.tracking.tracks import fill_gaps, iou, smooth_boxes, track_single_face
from tests.helpers.faces import GREEN, HEIGHT, LANDMARKS, RED, WIDTH, RGBDetector, draw_faces, track_frames


def box_at(left, top=100):
    return [left, top, left + 40, top + 50]


def assert_close(boxes, expected):
    np.testing.assert_allclose(boxes, expected, atol=2)  # pixels: regions are resampled


def test_moving_face_is_tracked_in_every_frame():
    lefts = [20 + round(60 * (1 - np.cos(n / 12))) for n in range(80)]
    (track,) = track_frames([draw_faces((RED, left, 100)) for left in lefts]).tracks
    assert track.start == 0 and not track.filled.any()
    assert_close(track.boxes, [box_at(left) for left in lefts])


def test_frames_between_detections_have_no_score():
    (track,) = track_frames([draw_faces((RED, 100, 100))] * 26, stride=5).tracks
    assert np.flatnonzero(~np.isnan(track.scores)).tolist() == [0, 5, 10, 15, 20, 25]
    assert not track.filled.any()
    assert track.scores[0] == np.float32(0.9)


def test_detector_pixels_are_counted_and_few():
    detector = RGBDetector()
    frame = np.full((1080, 1920, 3), 128, np.uint8)
    frame[400:600, 900:1060] = RED
    result = track_frames([frame] * 50, detector=detector)
    assert result.detector_pixels == sum(height * width for height, width in detector.sizes)
    assert result.detector_pixels * 50 < 50 * 1080 * 1920
    assert result.scans + result.rois == len(detector.sizes)
    assert max(max(size) for size in detector.sizes) == 480
    assert (result.frames, result.height, result.width) == (50, 1080, 1920)


def test_tracks_are_ordered_from_left_to_right():
    result = track_frames([draw_faces((GREEN, 200, 100), (RED, 20, 100))] * 30)
    assert [track.start for track in result.tracks] == [0, 0]
    assert_close(result.tracks[0].boxes, [box_at(20)] * 30)
    assert_close(result.tracks[1].boxes, [box_at(200)] * 30)


def test_crossing_faces_keep_their_tracks():
    lefts = [(20 + 5 * n, 255 - 5 * n) for n in range(48)]
    frames = [draw_faces((RED, red, 70), (GREEN, green, 110)) for red, green in lefts]
    result = track_frames(frames)
    assert len(result.tracks) == 2
    assert_close(result.tracks[0].boxes[-1], box_at(lefts[-1][0], 70))
    assert_close(result.tracks[1].boxes[-1], box_at(lefts[-1][1], 110))


def test_tracks_start_and_end_between_scans():
    frames = [draw_faces(*[(RED, 20, 100)] * (n < 37), *[(GREEN, 200, 100)] * (n >= 12)) for n in range(60)]
    red, green = track_frames(frames).tracks
    assert (red.start, red.stop) == (0, 37)
    assert (green.start, green.stop) == (12, 60)


def test_no_track_crosses_a_cut():
    frames = [draw_faces((RED, 100, 100))] * 33
    tracks = track_frames(frames, cuts=[10, 11]).tracks
    assert [(track.start, track.stop) for track in tracks] == [(0, 10), (10, 11), (11, 33)]


def test_short_gap_is_filled_and_long_gap_ends_the_track():
    hidden = {20, 21, 22} | set(range(40, 50))
    frames = [draw_faces(*[(RED, 100 + n, 100)] * (n not in hidden)) for n in range(70)]
    before, after = track_frames(frames, stride=1, max_gap_frames=5).tracks
    assert (before.start, before.stop, after.start, after.stop) == (0, 40, 50, 70)
    assert np.flatnonzero(before.filled).tolist() == [20, 21, 22]
    assert np.isnan(before.scores[20:23]).all()
    assert_close(before.boxes[21], box_at(121))


def test_face_missed_by_a_scan_is_filled():
    frames = [draw_faces((RED, 100, 100)) if n != 25 else draw_faces() for n in range(60)]  # 25 is scanned
    (track,) = track_frames(frames).tracks
    assert (track.start, track.stop) == (0, 60)
    assert np.flatnonzero(track.filled).tolist() == [25]


def test_fast_face_is_tracked():
    lefts = [10 + 8 * min(n, 30 - n) for n in range(31)]  # there and back between two scans
    (track,) = track_frames([draw_faces((RED, left, 100)) for left in lefts], stride=1, scan_every=30).tracks
    assert_close(track.boxes, [box_at(left) for left in lefts])


def test_face_at_the_border_is_tracked():
    (track,) = track_frames([draw_faces((RED, 0, HEIGHT - 50))] * 10).tracks
    assert_close(track.boxes, [[0, HEIGHT - 50, 40, HEIGHT]] * 10)


def test_landmarks_are_interpolated_in_frame_pixels():
    lefts = [50 + 2 * n for n in range(26)]
    frames = [draw_faces((RED, left, 100)) for left in lefts]
    (track,) = track_frames(frames, detector=RGBDetector(landmarks=True), stride=5).tracks
    expected = [[(left + x * 40, 100 + y * 50) for x, y in LANDMARKS] for left in lefts]
    assert_close(track.landmarks, expected)
    assert track_frames(frames).tracks[0].landmarks is None


def test_boxes_are_smoothed():
    frames = [draw_faces((RED, 100 + 4 * (n % 2), 100)) for n in range(30)]
    (track,) = track_frames(frames, stride=1, smooth_window_frames=13).tracks
    assert np.ptp(track.boxes[:, 0]) < 1.5


def test_video_of_one_frame():
    (track,) = track_frames([draw_faces((RED, 100, 100))]).tracks
    assert track.start == 0 and track.boxes.shape == (1, 4)


def test_no_frames_or_no_faces_give_no_tracks():
    result = track_frames([])
    assert (result.tracks, result.frames, result.detector_pixels) == ([], 0, 0)
    result = track_frames([draw_faces()] * 51)
    assert (result.tracks, result.frames, result.rois, result.scans) == ([], 51, 0, 3)


def test_scan_interval_is_limited_by_buffer_bytes(monkeypatch):
    monkeypatch.setattr("face_detection.tracking.offline_tracker.MAX_BUFFER_BYTES", 4 * HEIGHT * WIDTH * 3)
    result = track_frames([draw_faces((RED, 100, 100))] * 21)
    assert result.scans == 6  # frames 0, 4, 8, 12, 16, 20
    assert [(track.start, track.stop) for track in result.tracks] == [(0, 21)]


def test_progress_gets_the_number_of_frames():
    counts = []
    track_frames([draw_faces()] * 3, progress=counts.append)
    assert counts == [1, 2, 3]


@pytest.mark.parametrize("options", [{"stride": 0}, {"scan_every": 0}, {"max_gap_frames": -1}])
def test_invalid_options_are_rejected_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        track_frames([], **options)


@pytest.mark.slow
def test_real_clip_equals_dense_detection_at_a_tenth(shared_media):
    media = pytest.importorskip("wav2lip.media")
    frames = list(media.read_frames(shared_media / "speaker_c_590_25fps.mp4", 25))
    reference = smooth_boxes(fill_gaps(track_single_face(Haar(max_side=10_000).detect(frames)))[0], 13)
    result = track_faces(frames, Haar())
    (track,) = result.tracks
    assert (iou(track.boxes, reference) >= 0.9).mean() >= 0.99
    assert result.detector_pixels * 10 <= sum(frame.shape[0] * frame.shape[1] for frame in frames)
