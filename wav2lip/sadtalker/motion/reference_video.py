"""Motion of a reference video: the coefficients of its face in every frame, at 25 fps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from face_detection import Detector
from face_detection.landmarks.detector import Landmarker
from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.audio.windows import FPS
from wav2lip.engine.face_selection import make_selector
from wav2lip.engine.face_tracking import CachedTracker, TrackingParams
from wav2lip.engine.frame_source import FileSource
from wav2lip.engine.interface import IsCancelled, never
from wav2lip.engine.result_stream import cancellable
from wav2lip.engine.track_cache import TrackCache
from wav2lip.errors import InputError
from wav2lip.sadtalker.source.cropping import Region, choose_region
from wav2lip.sadtalker.source.portrait import locate_landmarks
from wav2lip.types import PathType

MAX_FRAMES = 25 * 60 * 10  # read from the start of a video

Coefficients = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image (S, S, 3) and landmarks (N, 2) to (73,)


def reference_coefficients(
    path: PathType, mode: str, side: int, detector: Detector, landmarker: Landmarker | None,
    coefficients: Coefficients, cache: TrackCache | None = None, is_cancelled: IsCancelled = never,
    max_pixels: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the coefficients (F, 73) float32 of the largest face of a video at 25 fps.

    The crop of the first frame with a face is used for all frames; frames without a face are interpolated.
    mode: crop mode. side: pixels of the crop. landmarker: None for the five points of the detector.
    max_pixels: larger frames are skipped.
    Raises: InputError if the file cannot be used or has no face.
    """
    source = FileSource(path, max_pixels=max_pixels)
    length = min(source.stated_frames or MAX_FRAMES, MAX_FRAMES)
    params = TrackingParams.for_video(source.fps, detector.name)
    tracker = CachedTracker(source, length, detector, params, cache)
    rows: list[np.ndarray | None] = []
    cut = _ConstantCrop(mode, side)
    with closing(source.frames(0, length)) as frames:
        for frame, face in _follow(tracker, cancellable(frames, is_cancelled)):
            points = None if face is None else _landmarks(frame, face, landmarker)
            rows.append(None if points is None else coefficients(*cut(frame, points)))
    known = np.array([index for index, row in enumerate(rows) if row is not None])
    if not len(known):
        raise InputError(
            f"{path}: no face with landmarks found in any of its {len(rows)} frames; use another reference video"
        )
    times = np.arange(max(1, round(len(rows) / source.fps * FPS))) * float(source.fps) / FPS
    values = np.stack([row for row in rows if row is not None])
    return np.stack([np.interp(times, known, column) for column in values.T], axis=1).astype(np.float32)


def _follow(tracker: CachedTracker, frames: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, TrackedFace | None]]:
    """Yield each frame with the face that is followed, None if it is absent."""
    select = make_selector("largest")
    for frame, faces in tracker(frames):
        selected = select(faces)
        yield frame, selected[0] if selected else None


def _landmarks(frame: np.ndarray, face: TrackedFace, landmarker: Landmarker | None) -> np.ndarray | None:
    return face.landmarks if landmarker is None else locate_landmarks(landmarker, frame, face)


class _ConstantCrop:
    """Cut the region of the first face out of every frame."""

    def __init__(self, mode: str, side: int):
        self.mode, self.side = mode, side
        self.region: Region | None = None

    def __call__(self, frame: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the crop (S, S, 3) and the landmarks (N, 2) float32 in its pixels."""
        if self.region is None:
            _, self.region = choose_region(self.mode, frame, landmarks)
        return self.region.cut(frame, self.side), self.region.to_region(landmarks, self.side).astype(np.float32)
