"""Face tracks of a whole video; see `adaptive_sampling` for the frames and regions on which the detector runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from face_detection.interface import Detector
from face_detection.tracking.online_tracker import MAX_BUFFER_BYTES, FaceTracker, TrackedFace
from face_detection.tracking.tracks import FaceTrack, Tracks


def track_faces(
    frames: Iterable[np.ndarray],
    detector: Detector,
    cuts: Collection[int] = (),
    *,
    stride: int = 2,
    scan_every: int = 25,
    scan_side: int = 480,
    max_gap_frames: int = 5,
    smooth_window_frames: int = 13,
    progress: Callable[[int], object] = lambda frames: None,
) -> Tracks:
    """Track every face of a video.

    frames: (H, W, 3) uint8 RGB, all of one size; those between two scans are buffered, up to `MAX_BUFFER_BYTES`.
    cuts: indices of the frames at which a new shot begins; no track crosses one.
    progress: called with the number of frames read so far.
    The other options are those of `FaceTracker`.
    """
    cuts = frozenset(cuts)  # looked up for every frame
    tracker = FaceTracker(detector, stride, scan_every, scan_side, max_gap_frames, smooth_window_frames)
    faces: list[list[TrackedFace]] = []
    height, width = 0, 0
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        faces += tracker.add(frame, number in cuts, max(1, MAX_BUFFER_BYTES // frame.nbytes))
        progress(number + 1)
    faces += tracker.finish()
    sampler = tracker.sampler
    return Tracks(collect_tracks(faces), len(faces), height, width, sampler.pixels, sampler.scans, sampler.rois)


def collect_tracks(frames: Iterable[Sequence[TrackedFace]]) -> list[FaceTrack]:
    """Convert the faces of each frame to tracks, ordered by first frame, then from left to right."""
    starts: dict[int, int] = {}  # person to first frame
    faces_by_person: dict[int, list[TrackedFace]] = {}
    for frame, faces in enumerate(frames):
        for face in faces:
            starts.setdefault(face.person, frame)
            faces_by_person.setdefault(face.person, []).append(face)
    tracks = [_build_track(start, faces_by_person[person]) for person, start in starts.items()]
    return sorted(tracks, key=lambda track: (track.start, track.boxes[0, 0]))


def _build_track(start: int, faces: Sequence[TrackedFace]) -> FaceTrack:
    landmarks = [face.landmarks for face in faces if face.landmarks is not None]
    return FaceTrack(
        start,
        np.stack([face.box for face in faces]),
        np.array([face.score for face in faces], np.float32),
        np.array([face.filled for face in faces]),
        np.stack(landmarks) if len(landmarks) == len(faces) else None,
    )
