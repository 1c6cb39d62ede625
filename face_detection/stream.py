"""Every face of a video while it is read: who is where in a frame is told a bounded number of frames later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np

from face_detection.interface import Detector
from face_detection.looks import Shot, View, between
from face_detection.tracks import RECENT, Linker, Path, smooth

HELD_BYTES = 256_000_000  # frames held at a time, however many there are between two scans
FEWEST_HELD = 4  # frames between two scans, however large they are


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face in one frame of a video."""

    person: int  # the same number for as long as the face is followed; another one in the next shot
    box: np.ndarray  # (4,) float32: left, top, right, bottom in pixels of the frame, smoothed over time
    score: float  # confidence in [0, 1]; NaN where the face was not looked for, or not found
    filled: bool  # looked for and not found, a gap that was bridged
    landmarks: np.ndarray | None = None  # (5, 2) float32: x, y in pixels, as in `Face`; None if there are none


def stream_faces(
    frames: Iterable[tuple[np.ndarray, bool]],
    detector: Detector,
    *,
    stride: int = 2,
    scan_every: int = 25,
    scan_side: int = 480,
    longest_gap: int = 5,
    smooth_window: int = 13,
) -> Generator[tuple[np.ndarray, list[TrackedFace]], None, None]:
    """Follow every face of a video, and give each frame back with the faces in it.

    Frames are held until all is known of them, at most `HELD_BYTES`; of frames so large that these are too few, the
    `FEWEST_HELD` between two scans and those over which boxes are bridged and smoothed.

    frames: (H, W, 3) uint8 RGB, all of one size, and whether a shot begins with them. One that was given back may be
        painted on.
    The options are those of `Tracker`.
    Yields: every frame once, in order, and its faces, ordered by their number.
    """
    tracker = Tracker(detector, stride, scan_every, scan_side, longest_gap, smooth_window)
    waiting: deque[np.ndarray] = deque()
    for frame, begins_shot in frames:
        waiting.append(frame)
        fit = HELD_BYTES // frame.nbytes - tracker.look_ahead
        for faces in tracker.add(frame, begins_shot, max(FEWEST_HELD, fit)):
            yield waiting.popleft(), faces
    for faces in tracker.finish():
        yield waiting.popleft(), faces


class Tracker:
    """Is given frames, and tells the faces in them as soon as nothing that comes can change them."""

    def __init__(
        self, detector: Detector, stride: int, scan_every: int, scan_side: int, longest_gap: int, smooth_window: int
    ):
        """detector: is given pictures of at most `scan_side` and regions of `face_detection.regions.CANVAS` pixels.

        stride: frames from one look at a face to the next, at most.
        scan_every: frames between looks at the whole frame.
        longest_gap: frames that are bridged where a face is not found; a longer absence ends the track.
        smooth_window: frames, odd, over which boxes are averaged.
        """
        if min(stride, scan_every, scan_side) < 1 or longest_gap < 0:
            raise ValueError(
                f"stride {stride}, scan_every {scan_every} and scan_side {scan_side} are at least 1, "
                f"and longest_gap {longest_gap} is at least 0"
            )
        self.view = View(detector, scan_side)
        self.stride, self.longest_gap, self.smooth_window = stride, longest_gap, smooth_window
        self.scan_every = scan_every
        self.reach = max(stride, longest_gap + 1)  # frames from one sighting of a person to the next
        self.look_ahead = self.reach + smooth_window  # frames told later than they are searched, at most
        self.count = 0  # frames added
        self.told = 0
        self._persons = 0
        self._begin_shot()

    def add(self, frame: np.ndarray, begins_shot: bool, fit: int) -> list[list[TrackedFace]]:
        """The next frame. fit: frames between two scans, at most, if that is less than `scan_every`.

        Returns: the faces of the next frames of which all is known by now.
        """
        known = self.finish() if begins_shot else []
        self.count += 1
        self._shot.add(frame, min(self.scan_every, fit))
        return known + self._tell()

    def finish(self) -> list[list[TrackedFace]]:
        """No more frames of this shot. Returns: the faces of the frames that were not told yet."""
        self._shot.finish()
        known = self._tell(last=True)
        self._begin_shot()
        return known

    def _begin_shot(self) -> None:
        self._shot = Shot(self.count, self.view, self.stride, self.longest_gap)
        self._linker = Linker(self.reach)
        self._linked = self.count  # frames before it are linked
        self._going: list[_Person] = []  # those of whom not all is told

    def _tell(self, last: bool = False) -> list[list[TrackedFace]]:
        searched = self._shot.first
        if searched == self._linked and not last:
            return []
        for frame in sorted(frame for frame in self._shot.found if self._linked <= frame < searched):
            for path in self._linker.add(frame, self._shot.found[frame]):
                self._going.append(_Person(self._persons, path))
                self._persons += 1
        self._linked = searched
        may_return = [] if last else [person for person in self._going if searched - person.last <= self.reach]
        settled = min([searched, *(person.last + 2 - self.smooth_window for person in may_return)])
        told = self._faces(max(self.told, settled))
        self._going = [person for person in self._going if person.last >= self.told or person in may_return]
        self._shot.forget(self.told)
        return told

    def _faces(self, stop: int) -> list[list[TrackedFace]]:
        """Faces of the frames from the next one to be told, up to but not including `stop`."""
        told: list[list[TrackedFace]] = [[] for _ in range(self.told, stop)]
        for person in self._going:
            for frame, face in person.faces(self.told, stop, self.smooth_window, self._shot.covered):
                told[frame - self.told].append(face)
            person.forget(stop - self.smooth_window)
        self.told = stop
        return told


class _Person:
    """Someone who is followed through a shot."""

    def __init__(self, number: int, path: Path):
        self.number, self.path = number, path
        self.first = next(iter(path))  # frame

    @property
    def last(self) -> int:
        """Frame of the latest sighting."""
        return next(reversed(self.path))

    def faces(
        self, start: int, stop: int, window: int, covered: Callable[[int, np.ndarray], bool]
    ) -> list[tuple[int, TrackedFace]]:
        """The face in the frames from `start` up to `stop` in which the person is, as (frame, face).

        window: frames over which boxes are averaged. covered: whether a box would have been seen in a frame.
        """
        begin, end = max(self.first, start - window + 1), min(self.last, stop + window - 2)
        frames = np.arange(begin, end + 1)
        shown = (frames >= start) & (frames < stop)
        if not shown.any():
            return []
        sightings = list(self.path.values())
        boxes = between(self.path, frames, [face.box for face in sightings])
        smoothed = smooth(boxes, window)
        landmarks = None
        if all(face.landmarks for face in sightings):
            landmarks = between(self.path, frames, [face.landmarks for face in sightings]).astype(np.float32)
        faces = []
        for row in np.flatnonzero(shown).tolist():
            frame = begin + row
            seen = self.path.get(frame)
            faces.append((frame, TrackedFace(
                self.number,
                smoothed[row],
                float("nan") if seen is None else seen.score,
                seen is None and covered(frame, boxes[row]),
                None if landmarks is None else landmarks[row],
            )))  # fmt: skip
        return faces

    def forget(self, before: int) -> None:
        """Sightings before this frame do not count any more, but for the last one, from which lines are drawn."""
        old = [frame for frame in self.path if frame <= before]
        for frame in old[:-RECENT]:
            del self.path[frame]
