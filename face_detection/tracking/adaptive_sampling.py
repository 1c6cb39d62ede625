"""Adaptive sampling: run the detector on as few frames and regions of a shot as accurate tracks need.

At regular intervals the detector gets the whole frame, downscaled, to find all faces. In between it gets only the
region around each face, every few frames and at one working size. Where the two ends of an interval disagree, or a face
is at one end only, the interval is bisected, down to single frames. docs/detection.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from face_detection.interface import Detector, Face
from face_detection.resize import downscale_to
from face_detection.tracking.roi import MAX_SHIFT, DetectionROI, rescale_faces
from face_detection.tracking.tracks import Trajectory, iou, link_faces

MIN_AGREEMENT_IOU = 0.7  # an interval is bisected if a face's boxes at its ends overlap less
DUPLICATE_IOU = 0.5  # two boxes in one frame that overlap more are the same detection


class DetectionSampler:
    """Run the detector on whole frames or regions, and count its input."""

    def __init__(self, detector: Detector, scan_side: int):
        """scan_side: pixels to which the longer side of whole frames is downscaled."""
        self.detector = detector
        self.scan_side = scan_side
        self.pixels, self.scans, self.rois = 0, 0, 0

    def scan(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces in whole frames, at low resolution."""
        self.scans += len(frames)
        small = [downscale_to(frame, self.scan_side) for frame in frames]
        detections = self._detect([image for image, _ in small])
        return [rescale_faces(faces, scale) for faces, (_, scale) in zip(detections, small, strict=True)]

    def detect_in_rois(self, rois: Sequence[DetectionROI], frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces in one region of each frame."""
        self.rois += len(rois)
        height, width = frames[0].shape[:2]
        detections: dict[int, list[Face]] = {}
        for canvas in sorted({roi.canvas for roi in rois}):  # images of one size form a batch
            batch = [index for index, roi in enumerate(rois) if roi.canvas == canvas]
            batch_faces = self._detect([rois[index].crop(frames[index]) for index in batch])
            for index, faces in zip(batch, batch_faces, strict=True):
                detections[index] = rois[index].to_frame(faces, height, width)
        return [detections[index] for index in range(len(rois))]

    def _detect(self, images: list[np.ndarray]) -> list[list[Face]]:
        self.pixels += sum(image.shape[0] * image.shape[1] for image in images)
        return self.detector.detect(images)


class ShotDetector:
    """Detect the faces of one shot, interval by interval: an interval lies between two scanned frames."""

    def __init__(self, start: int, sampler: DetectionSampler, stride: int, max_gap_frames: int):
        """start: index of the shot's first frame. stride: maximal frames between two detections of a face."""
        self.sampler, self.stride, self.max_gap_frames = sampler, stride, max_gap_frames
        self.first = start  # first frame of the current interval; earlier frames are finished
        self.frame_size = (0, 0)  # height, width
        self.frames: list[np.ndarray] = []  # frames of the current interval
        self.detections: dict[int, list[Face]] = {}  # frame to faces detected in regions
        self.searched: dict[int, list[DetectionROI]] = {}  # frame to its searched regions

    def add(self, frame: np.ndarray, interval: int) -> None:
        """Add the next frame. interval: frames between two scans."""
        self.frame_size = frame.shape[0], frame.shape[1]
        self.frames.append(frame)
        if len(self.frames) > interval:
            self._search_interval()
            self.first += len(self.frames) - 1
            self.frames = self.frames[-1:]

    def finish(self) -> None:
        """Search the remaining frames; none will be added."""
        if self.frames and self.first + len(self.frames) - 1 not in self.searched:
            self._search_interval()
        self.first += len(self.frames)
        self.frames = []

    def discard_before(self, frame: int) -> None:
        """Drop the results of earlier frames, except those that the next interval may need."""
        first_detection = min(frame, self.first - self.max_gap_frames)
        first_searched = min(frame, self.first)
        self.detections = {number: faces for number, faces in self.detections.items() if number >= first_detection}
        self.searched = {number: rois for number, rois in self.searched.items() if number >= first_searched}

    def is_covered(self, frame: int, box: np.ndarray) -> bool:
        """Return True if a search of this frame would have found this face, also with some deviation of the box."""
        roi = DetectionROI.around(box, *self.frame_size)
        return any(searched.covers(roi, MAX_SHIFT / 2) for searched in self.searched.get(frame, ()))

    def _search_interval(self) -> None:
        """Detect and bisect until no face of the interval is uncertain in any frame."""
        last = self.first + len(self.frames) - 1
        ends = [frame for frame in sorted({self.first, last}) if frame not in self.searched]
        scanned = self.sampler.scan([self.frames[frame - self.first] for frame in ends])
        candidates = [(frame, np.array(face.box)) for frame, faces in zip(ends, scanned, strict=True) for face in faces]
        for frame in ends:
            self.searched[frame] = []
        self._search(candidates)
        # Earlier frames are included, because a face may have been hidden at the start of the interval.
        linked_frames = range(self.first - self.max_gap_frames, last + 1)
        while True:  # needed at least once, because a face may disappear before the next scan
            detections = {n: self.detections[n] for n in linked_frames if n in self.detections}
            trajectories = link_faces(detections, max_gap=len(linked_frames))
            if not self._search(sample for path in trajectories for sample in self._uncertain_samples(path, last)):
                return

    def _search(self, samples: Iterable[tuple[int, np.ndarray]]) -> bool:
        """Detect around (frame, expected box) where not yet done; return False if there was nothing to do."""
        new: list[tuple[int, DetectionROI]] = []
        for frame, box in samples:
            if not self.is_covered(frame, box):
                new.append((frame, DetectionROI.around(box, *self.frame_size, finer=frame // self.stride % 2 == 1)))
                self.searched.setdefault(frame, []).append(new[-1][1])
        if new:
            frames = [self.frames[frame - self.first] for frame, _ in new]
            results = self.sampler.detect_in_rois([roi for _, roi in new], frames)
            for (frame, _), faces in zip(new, results, strict=True):
                earlier = self.detections.setdefault(frame, [])
                earlier += [face for face in faces if not _is_duplicate(face, earlier)]
        return bool(new)

    def _uncertain_samples(self, path: Trajectory, last: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the (frame, expected box) to detect next for a person."""
        frames = np.arange(self.first, last + 1)
        boxes = interpolate(path, frames, [face.box for face in path.values()])
        covered = [frame for frame, box in zip(frames.tolist(), boxes, strict=True) if self.is_covered(frame, box)]
        for end in {self.first, last}.difference(covered):
            yield end, boxes[end - self.first]
        for a, b in pairwise(covered):
            for frame in self._bisect(a, b, path):
                yield frame, boxes[frame - self.first]

    def _bisect(self, a: int, b: int, path: Trajectory) -> list[int]:
        """Return the frames to search between two searched ones."""
        if b - a == 1 or (a not in path and b not in path):
            return []
        if a not in path or b not in path:  # the face appears or disappears in between
            return [(a + b) // 2]
        if b - a > self.stride:
            count = -(-(b - a) // self.stride)
            return [a + index * (b - a) // count for index in range(1, count)]
        agree = iou(np.array(path[a].box), np.array(path[b].box)) > MIN_AGREEMENT_IOU
        return [] if agree else [(a + b) // 2]


def interpolate(path: Trajectory, frames: np.ndarray, values: Sequence[object]) -> np.ndarray:
    """Interpolate values (N, ...) of a trajectory's N detections linearly; outside, repeat the nearest one."""
    array = np.array(values, dtype=np.float64)
    columns = array.reshape(len(array), -1).T
    lines = [np.interp(frames, list(path), column) for column in columns]
    return np.stack(lines, axis=-1).reshape(len(frames), *array.shape[1:])


def _is_duplicate(face: Face, earlier: Sequence[Face]) -> bool:
    return any(iou(np.array(face.box), np.array(other.box)) > DUPLICATE_IOU for other in earlier)
