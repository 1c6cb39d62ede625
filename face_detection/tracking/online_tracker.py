"""Face tracks while a video is read, with bounded latency."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np

from face_detection.interface import Detector
from face_detection.tracking.adaptive_sampling import DetectionSampler, ShotDetector, interpolate
from face_detection.tracking.tracks import VELOCITY_SIGHTINGS, Linker, Trajectory, smooth_boxes

MAX_BUFFER_BYTES = 256_000_000  # limits the interval between two scans
MIN_SCAN_INTERVAL = 4  # frames, however large they are


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face in one frame of a video."""

    person: int  # index of the track; a new one after every cut
    box: np.ndarray  # (4,) float32: left, top, right, bottom in pixels of the frame, smoothed over time
    score: float  # confidence in [0, 1]; NaN where the face was not searched or not detected
    filled: bool  # True in a gap: searched and not detected
    landmarks: np.ndarray | None = None  # (5, 2) float32: x, y in pixels, as in `Face`; None if unavailable


def stream_faces(
    frames: Iterable[tuple[np.ndarray, bool]],
    detector: Detector,
    *,
    stride: int = 2,
    scan_every: int = 25,
    scan_side: int = 480,
    max_gap_frames: int = 5,
    smooth_window_frames: int = 13,
) -> Generator[tuple[np.ndarray, list[TrackedFace]], None, None]:
    """Track every face of a video and yield each frame with its faces.

    Frames are buffered until their faces are final, up to `MAX_BUFFER_BYTES`. If frames are so large that this is too
    few, `MIN_SCAN_INTERVAL` frames and those over which boxes are interpolated and smoothed are buffered.

    frames: (H, W, 3) uint8 RGB, all of one size, and True if a shot begins with the frame. A yielded frame may be
        modified.
    The options are those of `FaceTracker`.
    Yields: every frame once, in order, and its faces, ordered by `person`.
    """
    tracker = FaceTracker(detector, stride, scan_every, scan_side, max_gap_frames, smooth_window_frames)
    buffer: deque[np.ndarray] = deque()
    for frame, begins_shot in frames:
        buffer.append(frame)
        max_interval = MAX_BUFFER_BYTES // frame.nbytes - tracker.look_ahead
        for faces in tracker.add(frame, begins_shot, max(MIN_SCAN_INTERVAL, max_interval)):
            yield buffer.popleft(), faces
    for faces in tracker.finish():
        yield buffer.popleft(), faces


class FaceTracker:
    """Track faces online: take frames one by one and return faces as soon as later frames cannot change them."""

    def __init__(
        self,
        detector: Detector,
        stride: int,
        scan_every: int,
        scan_side: int,
        max_gap_frames: int,
        smooth_window_frames: int,
    ):
        """detector: gets whole frames of at most `scan_side` pixels and regions of `roi.CANVAS_SIZE` pixels.

        stride: maximal frames between two detections of a face.
        scan_every: frames between detections in the whole frame.
        max_gap_frames: longest gap of detections that is interpolated; a longer one ends the track.
        smooth_window_frames: odd number of frames over which boxes are averaged.
        """
        if min(stride, scan_every, scan_side) < 1 or max_gap_frames < 0:
            raise ValueError(
                f"stride={stride}, scan_every={scan_every}, scan_side={scan_side}: must be at least 1; "
                f"max_gap_frames={max_gap_frames}: must be at least 0"
            )
        self.sampler = DetectionSampler(detector, scan_side)
        self.stride, self.max_gap_frames, self.smooth_window = stride, max_gap_frames, smooth_window_frames
        self.scan_every = scan_every
        self.max_gap = max(stride, max_gap_frames + 1)  # frames from one sighting of a person to the next
        self.look_ahead = self.max_gap + smooth_window_frames  # maximal frames between search and output
        self._num_added = 0
        self._num_returned = 0
        self._num_persons = 0
        self._begin_shot()

    def add(self, frame: np.ndarray, begins_shot: bool, max_interval: int) -> list[list[TrackedFace]]:
        """Add the next frame. max_interval: frames between two scans, if less than `scan_every`.

        Returns: the faces of the next frames that are final.
        """
        final = self.finish() if begins_shot else []
        self._num_added += 1
        self._shot.add(frame, min(self.scan_every, max_interval))
        return final + self._pop_final()

    def finish(self) -> list[list[TrackedFace]]:
        """End the current shot and return the faces of all remaining frames."""
        self._shot.finish()
        final = self._pop_final(end_of_shot=True)
        self._begin_shot()
        return final

    def _begin_shot(self) -> None:
        self._shot = ShotDetector(self._num_added, self.sampler, self.stride, self.max_gap_frames)
        self._linker = Linker(self.max_gap)
        self._num_linked = self._num_added
        self._persons: list[_Person] = []  # with faces that are not returned yet

    def _pop_final(self, end_of_shot: bool = False) -> list[list[TrackedFace]]:
        searched = self._shot.first
        if searched == self._num_linked and not end_of_shot:
            return []
        for frame in sorted(frame for frame in self._shot.detections if self._num_linked <= frame < searched):
            for path in self._linker.add(frame, self._shot.detections[frame]):
                self._persons.append(_Person(self._num_persons, path))
                self._num_persons += 1
        self._num_linked = searched
        active = [] if end_of_shot else [p for p in self._persons if searched - p.last <= self.max_gap]
        final = min([searched, *(person.last + 2 - self.smooth_window for person in active)])
        faces = self._faces_until(max(self._num_returned, final))
        self._persons = [p for p in self._persons if p.last >= self._num_returned or p in active]
        self._shot.discard_before(self._num_returned)
        return faces

    def _faces_until(self, stop: int) -> list[list[TrackedFace]]:
        """Return the faces of the frames that are not returned yet, up to but not including `stop`."""
        faces: list[list[TrackedFace]] = [[] for _ in range(self._num_returned, stop)]
        for person in self._persons:
            for frame, face in person.faces(self._num_returned, stop, self.smooth_window, self._shot.is_covered):
                faces[frame - self._num_returned].append(face)
            person.discard_before(stop - self.smooth_window)
        self._num_returned = stop
        return faces


class _Person:
    """One person within a shot."""

    def __init__(self, number: int, path: Trajectory):
        self.number, self.path = number, path
        self.first = next(iter(path))  # frame

    @property
    def last(self) -> int:
        """Frame of the latest detection."""
        return next(reversed(self.path))

    def faces(
        self, start: int, stop: int, window: int, is_covered: Callable[[int, np.ndarray], bool]
    ) -> list[tuple[int, TrackedFace]]:
        """Return (frame, face) for the frames from `start` up to `stop` that the person is in.

        window: frames over which boxes are averaged.
        is_covered: returns True if a search of a frame would have found a face with this box.
        """
        begin, end = max(self.first, start - window + 1), min(self.last, stop + window - 2)
        frames = np.arange(begin, end + 1)
        inside = (frames >= start) & (frames < stop)
        if not inside.any():
            return []
        detections = list(self.path.values())
        boxes = interpolate(self.path, frames, [face.box for face in detections])
        smoothed = smooth_boxes(boxes, window)
        landmarks = None
        if all(face.landmarks for face in detections):
            landmarks = interpolate(self.path, frames, [face.landmarks for face in detections]).astype(np.float32)
        faces = []
        for row in np.flatnonzero(inside).tolist():
            frame = begin + row
            detection = self.path.get(frame)
            faces.append((frame, TrackedFace(
                self.number,
                smoothed[row],
                float("nan") if detection is None else detection.score,
                detection is None and is_covered(frame, boxes[row]),
                None if landmarks is None else landmarks[row],
            )))  # fmt: skip
        return faces

    def discard_before(self, frame: int) -> None:
        """Drop earlier detections, except the latest few, which interpolation and velocity need."""
        old = [number for number in self.path if number <= frame]
        for number in old[:-VELOCITY_SIGHTINGS]:
            del self.path[number]
