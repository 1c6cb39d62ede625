"""The faces of a video while it is read: the same as those of the whole of it, a bounded number of frames later."""

from __future__ import annotations

import numpy as np
import pytest

from face_detection.sparse import track_faces
from face_detection.stream import stream_faces
from tests.face_detection.test_sparse import GREEN, RED, ByColour, follow_painted, painted

OPTIONS = {"stride": 6, "scan_every": 50, "longest_gap": 5, "smooth_window": 5}
CUTS = [90, 97]


def scene():
    """Two who move, one hidden for a moment, one who comes and goes; a cut, and another one soon after."""
    for n in range(230):
        red = [(RED, 40 + round(30 * np.sin(n / 15)), 100)] * (n not in {30, 31, 32} and not 140 <= n < 170)
        green = [(GREEN, 200 - round(0.3 * n), 60)] * (22 <= n < 205)
        yield painted(*red, *green)


def streamed(frames, cuts=(), **options):
    return list(stream_faces(((frame, n in cuts) for n, frame in enumerate(frames)), ByColour(), **OPTIONS | options))


@pytest.mark.parametrize("window", [1, 5, 13])
def test_faces_told_while_a_video_is_read_are_those_of_tracks_smoothed_as_a_whole(window):
    raw = follow_painted(scene(), CUTS, **OPTIONS | {"smooth_window": 1}).tracks
    told = streamed(scene(), CUTS, smooth_window=window)
    assert len(told) == 230
    persons = {face.person for _, faces in told for face in faces}
    assert len(persons) == len(raw) > 4
    for track in raw:
        boxes = _centred_means(track.boxes.astype(float), window)
        for row, expected in enumerate(boxes):
            near = [face for face in told[track.start + row][1] if np.abs(face.box - expected).max() < 0.01]
            assert len(near) == 1
            assert near[0].filled == track.filled[row]
            np.testing.assert_array_equal(np.float32(near[0].score), track.scores[row])


def _centred_means(boxes, window):
    """By hand: the mean of a window within the track, along the line that fits it where it is not centred."""
    count = len(boxes)
    reach = min(window // 2, (count - 1) // 2)
    means = []
    for row in range(count):
        centre = min(max(row, reach), count - 1 - reach)
        rows = np.arange(centre - reach, centre + reach + 1)
        if not reach:
            means.append(boxes[row])
            continue
        line = np.polyfit(rows - centre, boxes[rows], 1)
        means.append(line[1] + (row - centre) * line[0] if row != centre else boxes[rows].mean(axis=0))
    return np.array(means)


def test_a_person_keeps_the_number_until_the_cut():
    told = streamed([painted((RED, 100, 100))] * 120, cuts=[60])
    numbers = [[face.person for face in faces] for _, faces in told]
    assert numbers == [[0]] * 60 + [[1]] * 60


def test_few_frames_are_held_whatever_the_length_and_every_frame_comes_back_once():
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def counted():
        nonlocal alive, most
        for n in range(400):
            alive += 1
            most = max(most, alive)
            frame = painted((RED, 100, 100)).view(Counted)
            frame[0, 0, 0] = n % 256
            yield frame, False

    numbers = [int(frame[0, 0, 0]) for frame, _ in stream_faces(counted(), ByColour(), **OPTIONS)]
    assert numbers == [n % 256 for n in range(400)]
    assert most <= 50 + 6 + 5 + 3  # between two scans, one sighting to the next, the window, and from hand to hand


def test_large_frames_are_scanned_more_often_and_held_in_smaller_numbers(monkeypatch):
    monkeypatch.setattr("face_detection.stream.HELD_BYTES", 20 * painted().nbytes)
    waiting, most = 0, 0

    def counted():
        nonlocal waiting, most
        for _ in range(100):
            waiting += 1
            most = max(most, waiting)
            yield painted((RED, 100, 100)), False

    for _, faces in stream_faces(counted(), ByColour(), **OPTIONS):
        waiting -= 1
        assert len(faces) == 1
    assert most <= 20 + 1


def test_a_face_between_two_looks_lies_between_their_boxes():
    told = streamed([painted((RED, 50 + 2 * n, 100)) for n in range(26)], smooth_window=1)
    np.testing.assert_allclose([faces[0].box[0] for _, faces in told], 50 + 2 * np.arange(26), atol=2)


def test_tracks_of_a_whole_video_are_the_faces_told_one_after_the_other():
    told = streamed(scene(), CUTS)
    tracks = track_faces(scene(), ByColour(), CUTS, **OPTIONS).tracks
    rows = sum(len(track.boxes) for track in tracks)
    assert rows == sum(len(faces) for _, faces in told)
    for track in tracks:
        boxes = {tuple(face.box.tolist()) for face in told[track.start][1]}
        assert tuple(track.boxes[0].tolist()) in boxes
