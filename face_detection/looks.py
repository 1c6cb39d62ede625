"""Where a detector looks for the faces of a shot, and what it is shown there.

Now and then the whole frame is given to the detector, shrunk: who is there. In between it is given only the region
around each face, every few frames and at one working size. Where the two ends of such a stretch do not agree, or a
face is at one end only, frames within it are looked at, down to single ones. docs/detection.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from face_detection.interface import Detector, Face
from face_detection.regions import OFF, Region, scaled
from face_detection.tracks import Path, link, overlap
from face_detection.working_size import shrunk

AGREE = 0.7  # overlap of a face's boxes at both ends of a stretch, below which the middle is looked at
TWICE = 0.5  # two boxes in one frame that overlap more are the same find


class View:
    """What the detector is shown, and how much of it."""

    def __init__(self, detector: Detector, scan_side: int):
        self.detector = detector
        self.scan_side = scan_side
        self.pixels, self.scans, self.looks = 0, 0, 0

    def whole(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of frames, to be looked at closer."""
        self.scans += len(frames)
        small = [shrunk(frame, self.scan_side) for frame in frames]
        found = self._detect([picture for picture, _ in small])
        return [scaled(faces, scale) for faces, (_, scale) in zip(found, small, strict=True)]

    def regions(self, regions: Sequence[Region], frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of one region of each frame."""
        self.looks += len(regions)
        height, width = frames[0].shape[:2]
        found: dict[int, list[Face]] = {}
        for canvas in sorted({region.canvas for region in regions}):  # pictures of one size make a batch
            batch = [number for number, region in enumerate(regions) if region.canvas == canvas]
            faces = self._detect([regions[number].picture(frames[number]) for number in batch])
            found |= {n: regions[n].faces(seen, height, width) for n, seen in zip(batch, faces, strict=True)}
        return [found[number] for number in range(len(regions))]

    def _detect(self, pictures: list[np.ndarray]) -> list[list[Face]]:
        self.pixels += sum(picture.shape[0] * picture.shape[1] for picture in pictures)
        return self.detector.detect(pictures)


class Shot:
    """The faces of one shot, found stretch by stretch: a stretch is what lies between two scanned frames."""

    def __init__(self, start: int, view: View, stride: int, longest_gap: int):
        self.view, self.stride, self.longest_gap = view, stride, longest_gap
        self.first = start  # of the stretch; all that was to be found before it is found
        self.size = (0, 0)  # height and width of a frame
        self.held: list[np.ndarray] = []  # frames of the stretch
        self.found: dict[int, list[Face]] = {}  # frame to the faces found by looking closer
        self.looked: dict[int, list[Region]] = {}  # frame to where that was

    def add(self, frame: np.ndarray, stretch: int) -> None:
        """The next frame. stretch: frames from one scan to the next."""
        self.size = frame.shape[0], frame.shape[1]
        self.held.append(frame)
        if len(self.held) > stretch:
            self._search()
            self.first += len(self.held) - 1
            self.held = self.held[-1:]

    def finish(self) -> None:
        """The last frame was added: nothing is open any more."""
        if self.held and self.first + len(self.held) - 1 not in self.looked:
            self._search()
        self.first += len(self.held)
        self.held = []

    def forget(self, before: int) -> None:
        """What is known of these frames is of no use any more, but for what the next stretch may need of it."""
        keep_found = min(before, self.first - self.longest_gap)
        self.found = {frame: faces for frame, faces in self.found.items() if frame >= keep_found}
        self.looked = {frame: regions for frame, regions in self.looked.items() if frame >= min(before, self.first)}

    def _search(self) -> None:
        """Look at the stretch until each of its faces is known well enough from frame to frame."""
        last = self.first + len(self.held) - 1
        ends = [frame for frame in sorted({self.first, last}) if frame not in self.looked]
        scanned = self.view.whole([self.held[frame - self.first] for frame in ends])
        wanted = [(frame, np.array(face.box)) for frame, faces in zip(ends, scanned, strict=True) for face in faces]
        for frame in ends:
            self.looked[frame] = []
        self._look(wanted)
        known = range(self.first - self.longest_gap, last + 1)  # from before: a face that this frame hid
        while True:  # at least once: a face may go before the next scan
            persons = link({n: self.found[n] for n in known if n in self.found}, reach=len(known))
            if not self._look(want for path in persons for want in self._doubtful(path, last)):
                return

    def _look(self, wanted: Iterable[tuple[int, np.ndarray]]) -> bool:
        """Look for faces at about these (frame, box), where that was not done yet; False if it was, everywhere."""
        looks: list[tuple[int, Region]] = []
        for frame, box in wanted:
            if not self.covered(frame, box):
                looks.append((frame, Region.around(box, *self.size, finer=frame // self.stride % 2 == 1)))
                self.looked.setdefault(frame, []).append(looks[-1][1])
        if looks:
            frames = [self.held[frame - self.first] for frame, _ in looks]
            found = self.view.regions([region for _, region in looks], frames)
            for (frame, _), faces in zip(looks, found, strict=True):
                known = self.found.setdefault(frame, [])
                known += [face for face in faces if not _among(face, known)]
        return bool(looks)

    def _doubtful(self, path: Path, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """The (frame, expected box) that would tell most about a person next."""
        frames = np.arange(self.first, last + 1)
        boxes = between(path, frames, [face.box for face in path.values()])
        covered = [frame for frame, box in zip(frames.tolist(), boxes, strict=True) if self.covered(frame, box)]
        for end in {self.first, last}.difference(covered):
            yield end, boxes[end - self.first]
        for a, b in pairwise(covered):
            for frame in self._inside(a, b, path):
                yield frame, boxes[frame - self.first]

    def _inside(self, a: int, b: int, path: Path) -> list[int]:
        """Frames to look at between two that were looked at."""
        if b - a == 1 or (a not in path and b not in path):
            return []
        if a not in path or b not in path:  # it came or went in between
            return [(a + b) // 2]
        if b - a > self.stride:
            parts = -(-(b - a) // self.stride)
            return [a + part * (b - a) // parts for part in range(1, parts)]
        agree = overlap(np.array(path[a].box), np.array(path[b].box)) > AGREE
        return [] if agree else [(a + b) // 2]

    def covered(self, frame: int, box: np.ndarray) -> bool:
        """Whether this face would have been seen in this frame, even where it is not quite where it is expected."""
        meant = Region.around(box, *self.size)
        return any(region.near(meant, OFF / 2) for region in self.looked.get(frame, ()))


def between(path: Path, frames: np.ndarray, values: Sequence[object]) -> np.ndarray:
    """Values of a person's sightings (N, ...) on straight lines between them; before and after, the nearest one."""
    known = np.array(values, dtype=np.float64)
    columns = known.reshape(len(known), -1).T
    lines = [np.interp(frames, list(path), column) for column in columns]
    return np.stack(lines, axis=-1).reshape(len(frames), *known.shape[1:])


def _among(face: Face, known: Sequence[Face]) -> bool:
    return any(overlap(np.array(face.box), np.array(other.box)) > TWICE for other in known)
