"""Find the tracks of one person, given by a point in the video or by a reference image, across cuts and absences."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np

from face_detection import Detector
from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.engine.face_selection import Selector
from wav2lip.engine.interface import Detection
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import Descriptor
from wav2lip.faces.boxes import round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.media import read_image

logger = logging.getLogger(__name__)

CROP_INTERVAL_FRAMES = 12  # frames of a track from one described crop to the next
MAX_CROPS = 8  # per track
FORBIDDEN = -2.0  # similarity of tracks that share a frame
POINT_TOLERANCE_S = 0.2  # maximal time between a point and a face


def make_identity_selector(similarities: Mapping[int, float]) -> Selector:
    """Build a selector of the most similar track of each frame; similarities: by candidate track."""

    def select(present: Sequence[TrackedFace]) -> list[TrackedFace]:
        candidates = [face for face in present if face.person in similarities]
        return [max(candidates, key=lambda face: similarities[face.person])] if candidates else []

    return select


@dataclass
class Track:
    """Descriptors and frames of one tracked face."""

    descriptors: list[np.ndarray] = field(default_factory=list)  # unit vectors
    frames: set[int] = field(default_factory=set)

    def add(self, index: int, frame: np.ndarray, box: np.ndarray, describe: Descriptor) -> None:
        """Add a frame (H, W, 3) uint8 and the box (4,) of the face in it."""
        if len(self.frames) % CROP_INTERVAL_FRAMES == 0 and len(self.descriptors) < MAX_CROPS:
            self.descriptors += _describe(frame, box, describe)
        self.frames.add(index)

    def similarity(self, descriptors: Sequence[np.ndarray]) -> float:
        """Return the mean cosine similarity over all pairs, in [-1, 1]; -1 without descriptors."""
        if not self.descriptors or not descriptors:
            return -1.0
        return float(np.mean(np.array(self.descriptors) @ np.array(descriptors).T))


def match_images(
    detections: Iterable[Detection], images: Sequence[Path], detector: Detector, describe: Descriptor,
    threshold: float,
) -> list[dict[int, float]]:  # fmt: skip
    """Find the persons most similar to the largest face of each image.

    threshold: similarity from which two tracks are the same person.
    Returns: of each image, similarity by track, for all tracks of that person; empty if there is no face in the video.
    Raises: InputError if there is no face in an image, or two images have the same best match.
    """
    references = [_describe_largest(image, detector, describe) for image in images]
    tracks = _collect_tracks(detections, describe)
    if not tracks:
        return [{} for _ in images]
    matches: dict[int, Path] = {}
    for image, descriptors in zip(images, references, strict=True):
        best = max(tracks, key=lambda person: tracks[person].similarity(descriptors))
        logger.info("%s: best match has similarity %.2f (max 1.00)", image, tracks[best].similarity(descriptors))
        if best in matches:
            raise InputError(
                f"--face_like={image}: is most similar to the same face of the video as {matches[best]}; use another "
                "image, or --faces"
            )
        matches[best] = image
    return [_same_person(tracks, best, threshold) for best in matches]


def _describe_largest(image: Path, detector: Detector, describe: Descriptor) -> list[np.ndarray]:
    """Return the descriptor of the largest face of an image. Raises: InputError if there is none."""
    pixels = read_image(image)
    (faces,) = detector.detect([pixels])
    largest = max(faces, key=lambda face: face.area, default=None)
    descriptors = [] if largest is None else _describe(pixels, np.array(largest.box), describe)
    if not descriptors:
        raise InputError(f"--face_like={image}: no face found; use an image with one frontal face")
    return descriptors


def match_point(
    detections: Iterable[Detection],
    point: tuple[float, float, float],
    fps: float,
    describe: Descriptor,
    threshold: float,
) -> dict[int, float]:
    """Find the person at a point.

    point: seconds, and x and y in pixels. threshold: similarity from which two tracks are the same person.
    Returns: similarity by track, for all tracks of that person.
    Raises: InputError if there is no face at the point, or its time is after the last frame.
    """
    seconds, x, y = point
    hits: dict[float, int] = {}  # time difference in seconds to track
    boxes: list[str] = []
    is_reached = False
    length = 0  # frames

    def record_hits() -> Iterable[Detection]:
        nonlocal is_reached, length
        for index, (frame, faces) in enumerate(detections):
            difference, length = abs(index / fps - seconds), index + 1
            if difference <= max(POINT_TOLERANCE_S, 0.5 / fps):
                is_reached = True
                for face in faces:
                    left, top, right, bottom = face.box.tolist()
                    boxes.append(f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}")
                    if left <= x < right and top <= y < bottom:
                        hits.setdefault(difference, face.person)
            yield frame, faces

    tracks = _collect_tracks(record_hits(), describe)
    flag = f"--face_at={seconds:g},{x:g},{y:g}"
    if not is_reached:
        raise InputError(f"{flag}: the time must be before {length / fps:.2f} s, the end of the used frames")
    if not hits:
        hint = f"faces there: {'; '.join(sorted(set(boxes))[:4])}" if boxes else "there is none at that time"
        raise InputError(f"{flag}: no face at this point; {hint}")
    return _same_person(tracks, hits[min(hits)], threshold)


def _collect_tracks(detections: Iterable[Detection], describe: Descriptor) -> dict[int, Track]:
    tracks: dict[int, Track] = {}
    for index, (frame, faces) in enumerate(detections):
        for face in faces:
            tracks.setdefault(face.person, Track()).add(index, frame, face.box, describe)
    return tracks


def _same_person(tracks: dict[int, Track], person: int, threshold: float) -> dict[int, float]:
    """Return a track and the tracks of the same person: similar ones that share no frame with it."""
    reference = tracks[person]
    same = {person: 1.0}
    for other, track in tracks.items():
        similarity = track.similarity(reference.descriptors)
        if other != person and similarity >= threshold and not track.frames & reference.frames:
            same[other] = similarity
    return same


def join_tracks(tracks: Mapping[int, Track], threshold: float) -> list[list[int]]:
    """Return the tracks of each person: similar ones that share no frame.

    Tracks that begin with the same frame, as after a cut, go to different people, so that the sum of the similarities
    is the largest.
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.3 s, and most videos need no matching

    people: list[_Person] = []
    starts = sorted((min(track.frames), number) for number, track in tracks.items())
    for _, group in itertools.groupby(starts, key=itemgetter(0)):
        new = [_Person.from_track(number, tracks[number]) for _, number in group]
        similarity = np.array([[person.similarity(other) for person in people] for other in new])
        best = dict(zip(*linear_sum_assignment(similarity.reshape(len(new), len(people)), maximize=True), strict=True))
        people += [other for row, other in enumerate(new) if row not in best or similarity[row, best[row]] < threshold]
        for row, column in best.items():
            if similarity[row, column] >= threshold:
                people[column].add(new[row])
    return [person.numbers for person in people]


@dataclass
class _Person:
    """Tracks that were joined; the mean similarity over all pairs of descriptors needs their sums alone."""

    numbers: list[int]
    frames: set[int]
    total: np.ndarray  # sum of the descriptors
    count: int

    @classmethod
    def from_track(cls, number: int, track: Track) -> _Person:
        return cls([number], set(track.frames), np.sum(track.descriptors, axis=0), len(track.descriptors))

    def similarity(self, other: _Person) -> float:
        """Return the mean cosine similarity over all pairs, -1 without descriptors, FORBIDDEN with a common frame."""
        if self.frames & other.frames:
            return FORBIDDEN
        return float(self.total @ other.total) / (self.count * other.count) if self.count and other.count else -1.0

    def add(self, other: _Person) -> None:
        self.numbers += other.numbers
        self.frames |= other.frames
        self.total = self.total + other.total
        self.count += other.count


def _describe(image: np.ndarray, box: np.ndarray, describe: Descriptor) -> list[np.ndarray]:
    """Return the descriptor of a face; an empty list if its box (4,) is outside the image."""
    (rounded,) = round_boxes(box[None], *image.shape[:2])
    return [] if rounded is None else [describe(crop_box(image, rounded))]
