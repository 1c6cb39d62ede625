"""The faces of a source: followed while it is read, or remembered from an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction

import numpy as np

from face_detection import Detector
from face_detection.interface import Identified
from face_detection.stream import TrackedFace, stream_faces
from wav2lip.cuts import mark_cuts
from wav2lip.lipsync.timeline import Source
from wav2lip.lipsync.track_cache import Remembered, TrackCache

log = logging.getLogger(__name__)

STRIDE = 0.2  # seconds from one look at a face to the next
SCAN = 2.0  # seconds between looks at the whole frame
# Pixels to which it is shrunk. S3FD's smallest boxes are 16 pixels wide, half as large as MTCNN's and Haar's.
SCAN_SIDE = {"s3fd": 320}
SCAN_SIDE_USUAL = 480
LONGEST_GAP = 0.2  # seconds without the face that are bridged
SMOOTH = {"haar": 0.6}  # seconds over which boxes are averaged; Haar's jitter
SMOOTH_USUAL = 0.2


@dataclass(frozen=True)
class Following:
    """How faces are followed, in frames; see `face_detection.stream.Tracker`."""

    stride: int
    scan_every: int
    scan_side: int
    longest_gap: int
    smooth_window: int

    @classmethod
    def at(cls, fps: Fraction, detector: str, smooth: bool = True) -> Following:
        """What pays for a frame rate and a detector; docs/detection.md has the figures."""
        half_window = round(SMOOTH.get(detector, SMOOTH_USUAL) * fps) // 2 if smooth else 0
        return cls(
            stride=max(1, round(STRIDE * fps)),
            scan_every=max(1, round(SCAN * fps)),
            scan_side=SCAN_SIDE.get(detector, SCAN_SIDE_USUAL),
            longest_gap=round(LONGEST_GAP * fps),
            smooth_window=2 * half_window + 1,
        )


class SourceFaces:
    """The faces of a source's frames; whoever asks again is told what was found the first time."""

    def __init__(self, source: Source, length: int, detector: Detector, following: Following, cache: TrackCache | None):
        """length: frames of the source that are needed at most. cache: None keeps nothing for the next run."""
        self.length, self.detector, self.following = length, detector, following
        self._cache = cache
        self._key = _key(source, detector, following) if cache is not None else None
        self._known: Remembered | None = None

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Sequence[TrackedFace]]]:
        """Each frame, and the faces in it. frames: the source's first `length`, or all if there are fewer."""
        known = self._known or self._load()
        if known is not None and (known.whole or len(known.faces) >= self.length):
            self._known = known
            yield from zip(frames, known.faces, strict=False)
            return
        found: list[list[TrackedFace]] = []
        options = vars(self.following)
        for frame, faces in stream_faces(mark_cuts(frames), self.detector, **options):
            found.append(faces)
            yield frame, faces
        self._known = Remembered(found, whole=len(found) < self.length)
        if self._cache is not None and self._key is not None:
            self._cache.save(self._key, self._known)

    def _load(self) -> Remembered | None:
        if self._cache is None or self._key is None:
            return None
        known = self._cache.load(self._key)
        if known is not None:
            log.info("faces are known from an earlier run")
        return known


def _key(source: Source, detector: Detector, following: Following) -> str | None:
    """What the faces depend on; None if that cannot be told."""
    if not isinstance(source, Identified) or not isinstance(detector, Identified):
        return None
    if source.fingerprint is None or detector.fingerprint is None:
        return None
    return f"{source.fingerprint}; {detector.fingerprint}; {astuple(following)}"
