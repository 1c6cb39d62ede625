"""Face tracking of a source, cached from run to run."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np

from face_detection import Detector
from face_detection.tracking.online_tracker import TrackedFace, stream_faces
from wav2lip.audio.windows import FPS
from wav2lip.engine.interface import Detection, Source
from wav2lip.engine.track_cache import CachedTracks, TrackCache, cache_key
from wav2lip.faces.framing import FaceFraming
from wav2lip.media.shot_boundaries import detect_shot_boundaries

logger = logging.getLogger(__name__)

STRIDE_S = 0.2  # time between two detections of a tracked face
SCAN_INTERVAL_S = 2.0  # time between two detections in the whole frame
# Pixels to which the frame is downscaled for a scan. S3FD's smallest boxes are 16 pixels wide, half of MTCNN's and
# Haar's.
SCAN_SIDE = {"s3fd": 320}
DEFAULT_SCAN_SIDE = 480
MAX_GAP_S = 0.2  # maximal gap in a track
SMOOTH_WINDOW_S = {"haar": 0.6}  # averaging window of boxes; Haar's jitter
DEFAULT_SMOOTH_WINDOW_S = 0.2


@dataclass(frozen=True)
class TrackingParams:
    """Parameters of `face_detection.tracking.online_tracker.FaceTracker`, in frames."""

    stride: int
    scan_every: int
    scan_side: int
    max_gap_frames: int
    smooth_window_frames: int

    @classmethod
    def for_video(
        cls, fps: Fraction, detector: str, smooth: bool = True, framing: FaceFraming | None = None
    ) -> TrackingParams:
        """Choose parameters for a frame rate and a detector; docs/detection.md has the measurements.

        framing: of a checkpoint, whose parameters are used if its boxes are of the same detector.
        """
        known = framing if framing is not None and framing.detector == detector else FaceFraming()
        window_s = SMOOTH_WINDOW_S.get(detector, DEFAULT_SMOOTH_WINDOW_S)

        def frames(count: int | None, default_s: float) -> int:
            return round((count / FPS if count else default_s) * fps)

        return cls(
            stride=max(1, frames(known.stride_frames, STRIDE_S)),
            scan_every=max(1, frames(known.scan_frames, SCAN_INTERVAL_S)),
            scan_side=known.scan_side or SCAN_SIDE.get(detector, DEFAULT_SCAN_SIDE),
            max_gap_frames=round(MAX_GAP_S * fps),
            smooth_window_frames=2 * (frames(known.smooth_window_frames, window_s) // 2) + 1 if smooth else 1,
        )


class CachedTracker:
    """Track the faces of a source once; later calls and later runs return the same faces."""

    def __init__(
        self, source: Source, length: int, detector: Detector, params: TrackingParams, cache: TrackCache | None
    ):  # fmt: skip
        """length: maximum number of source frames used. cache: None disables it."""
        self.length, self.detector, self.params = length, detector, params
        self._cache = cache
        self._key = cache_key(source, detector, params) if cache is not None else None
        self._tracks: CachedTracks | None = None
        self.is_cached = False  # the faces come from an earlier run

    def __call__(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Yield each frame and its faces. frames: the source's first `length`, or all if there are fewer."""
        is_first = self._tracks is None
        tracks = self._tracks or self._load()
        if tracks is not None and (tracks.is_complete or len(tracks.faces) >= self.length):
            self._tracks, self.is_cached = tracks, self.is_cached or is_first
            yield from zip(frames, tracks.faces, strict=False)
            return
        collected: list[list[TrackedFace]] = []
        for frame, faces in stream_faces(detect_shot_boundaries(frames), self.detector, **asdict(self.params)):
            collected.append(faces)
            yield frame, faces
        self._tracks = CachedTracks(collected, is_complete=len(collected) < self.length)
        if self._cache is not None and self._key is not None:
            self._cache.save(self._key, self._tracks)

    def _load(self) -> CachedTracks | None:
        if self._cache is None or self._key is None:
            return None
        tracks = self._cache.load(self._key)
        if tracks is not None:
            logger.info("using faces cached by an earlier run")
        return tracks
