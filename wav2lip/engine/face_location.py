"""Three ways to locate the faces to animate: a fixed box, upstream's boxes, or tracked and selected faces."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from face_detection import Detector, DetectorError, Face
from face_detection.build import DETECTORS
from face_detection.tracking.tracks import smooth_boxes_public, track_single_face
from wav2lip.engine.face_selection import SPEAKING, make_selector, no_face_message, parse_positions, select_faces
from wav2lip.engine.face_tracking import CachedTracker, TrackingParams
from wav2lip.engine.identity_matching import match_images, match_point
from wav2lip.engine.interface import (
    AssignVoices,
    Detection,
    FaceLocator,
    FaceTarget,
    IsCancelled,
    LocatedFrame,
    Source,
    never,
)
from wav2lip.engine.options import FaceOptions
from wav2lip.engine.result_stream import cancellable
from wav2lip.engine.speakers.assignment import PositionAssignment, assign_by_identity, assign_one_voice
from wav2lip.engine.speakers.speaking import assign_speaking
from wav2lip.engine.track_cache import user_cache
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import Descriptor
from wav2lip.faces.boxes import Box, Pads, pad_boxes, round_boxes
from wav2lip.faces.framing import FaceFraming, resolve_pads
from wav2lip.media.video import batch_frames
from wav2lip.sync.syncnet_experts import load_expert

logger = logging.getLogger(__name__)

BuildDetector = Callable[[int, str], Detector]  # from images per batch and options.compat


class FixedBox:
    """One face in a fixed box."""

    def __init__(self, box: tuple[int, int, int, int]):
        """box: top, bottom, left, right in pixels."""
        self.box = box

    def detect(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Yield the frames without detection."""
        yield from ((frame, ()) for frame in frames)

    def select(self, detections: Iterable[Detection]) -> Generator[LocatedFrame, None, None]:
        """Yield each frame with the box. Raises: InputError if the box is not inside the frame."""
        top, bottom, left, right = self.box
        targets = [FaceTarget((left, top, right, bottom))]
        for frame, _ in detections:
            height, width = frame.shape[:2]
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise InputError(
                    f"--box={top} {bottom} {left} {right}: must be TOP BOTTOM LEFT RIGHT inside the frame of "
                    f"{width} x {height}"
                )
            yield frame, targets


class PrecomputedBoxes:
    """One face whose boxes are computed for all frames before the first one is used."""

    def __init__(self, compute_boxes: Callable[[], Sequence[Box | None]]):
        """compute_boxes: returns the box in each frame, None for a frame without a face."""
        self._compute_boxes = compute_boxes

    @cached_property
    def boxes(self) -> Sequence[Box | None]:
        """Box in each frame."""
        return self._compute_boxes()

    def detect(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Detect the faces of all frames, see `boxes`; then yield the frames."""
        _ = self.boxes
        yield from ((frame, ()) for frame in frames)

    def select(self, detections: Iterable[Detection]) -> Generator[LocatedFrame, None, None]:
        """Yield each frame with its box."""
        for (frame, _), box in zip(detections, self.boxes, strict=False):
            yield frame, [] if box is None else [FaceTarget(box)]


class TrackedFaces:
    """Faces tracked while the video is read, selected, and padded."""

    def __init__(
        self, tracker: CachedTracker, build_assignment: Callable[[], AssignVoices], options: FaceOptions,
        source: Source, pads: Pads, has_rest: bool = False,
    ):  # fmt: skip
        """build_assignment: called when selection starts; it may read the video. has_rest: see `select_faces`."""
        self._tracker, self._build_assignment = tracker, build_assignment
        self._options, self._source, self._pads, self._has_rest = options, source, pads, has_rest

    @property
    def is_cached(self) -> bool:
        """True if the faces come from an earlier run."""
        return self._tracker.is_cached

    def detect(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Yield each frame with all tracked faces."""
        yield from self._tracker(frames)

    def select(self, detections: Iterable[Detection]) -> Generator[LocatedFrame, None, None]:
        """Yield each frame with its selected faces; see `select_faces`."""
        yield from select_faces(
            detections, self._build_assignment(), self._source, self._pads, self._options.strict,
            self._options.num_voices, self._has_rest,
        )  # fmt: skip


def build_matching_detector(build: Callable[[str], Detector], name: str, own: str | None) -> Detector:
    """Build the detector whose boxes a checkpoint was trained on, unless another is named.

    name: of the option, "auto" for no choice. own: the checkpoint's; None or unknown: no preference.
    """
    if own not in DETECTORS:
        return build(name)
    if name not in ("auto", own):
        logger.warning(
            "--detector %s: the checkpoint was trained on boxes of %s; its lips may be less in sync", name, own
        )
    if name != "auto":
        return build(name)
    try:
        return build(own)
    except DetectorError as error:
        logger.warning("face detector %s, on whose boxes the checkpoint was trained, is unavailable: %s", own, error)
        return build(name)


class DetectorPool:
    """Cache of one detector, which is rebuilt when the batch size or the compatibility mode changes."""

    def __init__(self, build: BuildDetector):
        self._build = build
        self._lock = threading.Lock()
        self._key: tuple[int, str] | None = None
        self._detector: Detector | None = None

    def get(self, batch_size: int, compat: str = "none") -> Detector:
        """Return a detector; thread-safe."""
        with self._lock:
            if self._detector is None or self._key != (batch_size, compat):
                self._key, self._detector = (batch_size, compat), self._build(batch_size, compat)
            return self._detector


def build_locator(
    source: Source, length: int, options: FaceOptions, detectors: DetectorPool, batch_size: int,
    describe: Descriptor, framing: FaceFraming | None = None, compat: str = "none", is_cancelled: IsCancelled = never,
    has_rest: bool = False, device: str | torch.device = "cpu",
) -> FaceLocator:  # fmt: skip
    """Build the locator that the options select.

    length: maximum number of source frames used. describe: appearance descriptor that distinguishes persons.
    framing: of the checkpoint; None: upstream's. compat: "public" for upstream's boxes.
    has_rest: see `select_faces`. device: of options.sync_expert.
    """
    pads = resolve_pads(options.pads, framing, compat)

    def read() -> Iterator[np.ndarray]:
        return cancellable(itertools.islice(source.frames(), length), is_cancelled)

    if options.box is not None:
        if getattr(source, "is_downscaled", False):
            raise InputError(f"--box={options.box}: {source.path} is downscaled; add --resize_factor or --crop")
        return FixedBox(options.box)
    detector = detectors.get(batch_size, compat)
    if compat == "public":
        return PrecomputedBoxes(
            lambda: upstream_boxes(read(), detector, batch_size, options.smooth, pads, float(source.fps))
        )
    return _build_tracked_faces(source, read, length, detector, options, describe, pads, framing, has_rest, device)


def _build_tracked_faces(
    source: Source, read: Callable[[], Iterable[np.ndarray]], length: int, detector: Detector, options: FaceOptions,
    describe: Descriptor, pads: Pads, framing: FaceFraming | None, has_rest: bool,
    device: str | torch.device,
) -> TrackedFaces:  # fmt: skip
    fps = float(source.fps)
    params = TrackingParams.for_video(source.fps, detector.name, options.smooth, framing)
    tracker = CachedTracker(source, length, detector, params, user_cache() if options.cache else None)

    def build_assignment() -> AssignVoices:
        if options.face_at is not None:
            return assign_by_identity([match_point(tracker(read()), options.face_at, fps, describe, options.alike)])
        if options.face_like:
            return assign_by_identity(
                match_images(tracker(read()), options.face_like, detector, describe, options.alike)
            )
        if options.faces == SPEAKING:
            expert = None if options.sync_expert is None else load_expert(options.sync_expert, device)
            return assign_speaking(source, tracker(read()), pads, expert, describe, options.alike)
        if positions := parse_positions(options.faces):
            return PositionAssignment(positions)
        return assign_one_voice(make_selector(options.faces))

    return TrackedFaces(tracker, build_assignment, options, source, pads, has_rest)


def upstream_boxes(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, smooth: bool, pads: Pads, fps: float
) -> list[Box | None]:
    """Compute upstream's boxes: the face with the best score of each frame, smoothed with the boxes after it.

    Raises: InputError if a frame has no face.
    """
    faces: list[list[Face]] = []
    size = (0, 0)
    for batch in batch_frames(frames, batch_size):
        faces += detector.detect(batch)
        size = batch[0].shape[:2]
    boxes = track_single_face(faces, compat="public")
    missing = np.flatnonzero(np.isnan(boxes).any(axis=1))
    if len(missing):
        raise InputError(no_face_message(int(missing[0]), fps, "--compat public"))
    padded = pad_boxes(boxes.astype(np.int64), pads, *size)
    return round_boxes((smooth_boxes_public(padded) if smooth else padded).astype(np.float64), *size)
