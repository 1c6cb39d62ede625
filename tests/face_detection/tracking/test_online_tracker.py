"""stream_faces gives the tracks of track_faces with bounded latency."""

from __future__ import annotations

import numpy as np
import pytest

from face_detection.tracking.offline_tracker import track_faces
from face_detection.tracking.online_tracker import stream_faces
from tests.helpers.faces import GREEN, RED, RGBDetector, draw_faces, track_frames

OPTIONS = {"stride": 6, "scan_every": 50, "max_gap_frames": 5, "smooth_window_frames": 5}
CUTS = [90, 97]


def scene():
    """Two moving faces, one briefly hidden, one entering and leaving; two cuts close together."""
    for n in range(230):
        red = [(RED, 40 + round(30 * np.sin(n / 15)), 100)] * (n not in {30, 31, 32} and not 140 <= n < 170)
        green = [(GREEN, 200 - round(0.3 * n), 60)] * (22 <= n < 205)
        yield draw_faces(*red, *green)


def stream(frames, cuts=(), **options):
    return list(
        stream_faces(((frame, n in cuts) for n, frame in enumerate(frames)), RGBDetector(), **OPTIONS | options)
    )


@pytest.mark.parametrize("window", [1, 5, 13])
def test_faces_equal_smoothed_offline_tracks(window):
    raw = track_frames(scene(), CUTS, **OPTIONS | {"smooth_window_frames": 1}).tracks
    frames = stream(scene(), CUTS, smooth_window_frames=window)
    assert len(frames) == 230
    persons = {face.person for _, faces in frames for face in faces}
    assert len(persons) == len(raw) > 4
    for track in raw:
        boxes = _centered_means(track.boxes.astype(float), window)
        for row, expected in enumerate(boxes):
            matches = [face for face in frames[track.start + row][1] if np.abs(face.box - expected).max() < 0.01]
            assert len(matches) == 1
            assert matches[0].filled == track.filled[row]
            np.testing.assert_array_equal(np.float32(matches[0].score), track.scores[row])


def _centered_means(boxes, window):
    """Mean of the window inside the track, extrapolated by its least-squares line where it is not centered."""
    count = len(boxes)
    half = min(window // 2, (count - 1) // 2)
    means = []
    for row in range(count):
        center = min(max(row, half), count - 1 - half)
        rows = np.arange(center - half, center + half + 1)
        if not half:
            means.append(boxes[row])
            continue
        line = np.polyfit(rows - center, boxes[rows], 1)
        means.append(line[1] + (row - center) * line[0] if row != center else boxes[rows].mean(axis=0))
    return np.array(means)


def test_person_index_changes_at_a_cut():
    frames = stream([draw_faces((RED, 100, 100))] * 120, cuts=[60])
    numbers = [[face.person for face in faces] for _, faces in frames]
    assert numbers == [[0]] * 60 + [[1]] * 60


def test_buffer_is_bounded_and_frames_are_yielded_once():
    alive, max_alive = 0, 0

    class CountedFrame(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def count_frames():
        nonlocal alive, max_alive
        for n in range(400):
            alive += 1
            max_alive = max(max_alive, alive)
            frame = draw_faces((RED, 100, 100)).view(CountedFrame)
            frame[0, 0, 0] = n % 256
            yield frame, False

    numbers = [int(frame[0, 0, 0]) for frame, _ in stream_faces(count_frames(), RGBDetector(), **OPTIONS)]
    assert numbers == [n % 256 for n in range(400)]
    assert max_alive <= 50 + 6 + 5 + 3  # scan interval, gap, smoothing window, and references in flight


def test_large_frames_are_buffered_in_smaller_numbers(monkeypatch):
    monkeypatch.setattr("face_detection.tracking.online_tracker.MAX_BUFFER_BYTES", 20 * draw_faces().nbytes)
    buffered, max_buffered = 0, 0

    def count_frames():
        nonlocal buffered, max_buffered
        for _ in range(100):
            buffered += 1
            max_buffered = max(max_buffered, buffered)
            yield draw_faces((RED, 100, 100)), False

    for _, faces in stream_faces(count_frames(), RGBDetector(), **OPTIONS):
        buffered -= 1
        assert len(faces) == 1
    assert max_buffered <= 20 + 1


def test_boxes_are_interpolated_between_detections():
    frames = stream([draw_faces((RED, 50 + 2 * n, 100)) for n in range(26)], smooth_window_frames=1)
    np.testing.assert_allclose([faces[0].box[0] for _, faces in frames], 50 + 2 * np.arange(26), atol=2)


def test_offline_tracks_contain_all_online_faces():
    frames = stream(scene(), CUTS)
    tracks = track_faces(scene(), RGBDetector(), CUTS, **OPTIONS).tracks
    rows = sum(len(track.boxes) for track in tracks)
    assert rows == sum(len(faces) for _, faces in frames)
    for track in tracks:
        boxes = {tuple(face.box.tolist()) for face in frames[track.start][1]}
        assert tuple(track.boxes[0].tolist()) in boxes
