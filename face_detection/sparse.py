"""Faces of a whole video with a detector that sees as little of it as will do; see `looks` for how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from face_detection.interface import Detector
from face_detection.stream import HELD_BYTES, TrackedFace, Tracker
from face_detection.tracks import FaceTrack, Tracks


def track_faces(
    frames: Iterable[np.ndarray],
    detector: Detector,
    cuts: Collection[int] = (),
    *,
    stride: int = 2,
    scan_every: int = 25,
    scan_side: int = 480,
    longest_gap: int = 5,
    smooth_window: int = 13,
    progress: Callable[[int], object] = lambda frames: None,
) -> Tracks:
    """Follow every face of a video.

    frames: (H, W, 3) uint8 RGB, all of one size; those between two scans are held, at most `HELD_BYTES` of them.
    cuts: numbers of the frames at which another shot begins; no track crosses one.
    progress: called with the number of frames read so far.
    The other options are those of `Tracker`.
    """
    cuts = frozenset(cuts)  # asked for every frame
    tracker = Tracker(detector, stride, scan_every, scan_side, longest_gap, smooth_window)
    told: list[list[TrackedFace]] = []
    height, width = 0, 0
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        told += tracker.add(frame, number in cuts, max(1, HELD_BYTES // frame.nbytes))
        progress(number + 1)
    told += tracker.finish()
    tracks = tracks_of(told)
    view = tracker.view
    return Tracks(tracks, len(told), height, width, view.pixels, view.scans, view.looks)


def tracks_of(told: Iterable[Sequence[TrackedFace]]) -> list[FaceTrack]:
    """The tracks of the faces of each frame, by first frame, then from left to right."""
    starts: dict[int, int] = {}  # person to first frame
    faces_of: dict[int, list[TrackedFace]] = {}
    for frame, faces in enumerate(told):
        for face in faces:
            starts.setdefault(face.person, frame)
            faces_of.setdefault(face.person, []).append(face)
    tracks = [_track(start, faces_of[person]) for person, start in starts.items()]
    return sorted(tracks, key=lambda track: (track.start, track.boxes[0, 0]))


def _track(start: int, faces: Sequence[TrackedFace]) -> FaceTrack:
    points = [face.landmarks for face in faces if face.landmarks is not None]
    return FaceTrack(
        start,
        np.stack([face.box for face in faces]),
        np.array([face.score for face in faces], np.float32),
        np.array([face.filled for face in faces]),
        np.stack(points) if len(points) == len(faces) else None,
    )
