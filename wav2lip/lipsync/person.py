"""The person whom a point, or a picture of a face, means: found by watching the whole video first."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from face_detection import Detector
from face_detection.stream import TrackedFace
from wav2lip.crops import cut, whole_pixels
from wav2lip.errors import InputError
from wav2lip.lipsync.likeness import Describe
from wav2lip.media import read_picture

log = logging.getLogger(__name__)

EVERY = 12  # frames from one crop of a person to the next
SAMPLES = 8  # crops by which a person is known, at most
NEAR = 0.2  # seconds by which a point may miss the face

Watched = Iterable[tuple[np.ndarray, Sequence[TrackedFace]]]


@dataclass
class Person:
    """Someone followed through a part of the video."""

    looks: list[np.ndarray] = field(default_factory=list)  # descriptions, of length 1 each
    frames: set[int] = field(default_factory=set)

    def likeness(self, looks: Sequence[np.ndarray]) -> float:
        """To descriptions of someone, in [-1, 1]: the mean over all pairs."""
        return float(np.mean(np.array(self.looks) @ np.array(looks).T)) if self.looks and looks else -1.0


def like_picture(
    watched: Watched, picture: Path, detector: Detector, describe: Describe, alike: float
) -> dict[int, float]:
    """The person most like the face in a picture, and who is the same at other times: numbers with how alike they are.

    alike: likeness from which on two are taken for the same person.
    Raises: InputError if there is no face in the picture.
    """
    shown = read_picture(picture)
    (faces,) = detector.detect([shown])
    largest = max(faces, key=lambda face: face.area, default=None)
    looks = [] if largest is None else _described(shown, np.array(largest.box), describe)
    if not looks:
        raise InputError(f"--face_like {picture}: no face found; give a picture with one face, seen from the front")
    persons = _persons(watched, describe)
    if not persons:
        return {}
    best = max(persons, key=lambda number: persons[number].likeness(looks))
    log.info("%s: the face most like it is so by %.2f, of 1 at most", picture, persons[best].likeness(looks))
    return _same(persons, best, alike)


def at_point(
    watched: Watched, point: tuple[float, float, float], fps: float, describe: Describe, alike: float
) -> dict[int, float]:
    """The person at a point, and who is the same at other times: numbers with how alike they are.

    point: seconds, and x and y in pixels. fps: frames a second of what is watched.
    Raises: InputError if there is no face at the point, or its time is past what is watched.
    """
    seconds, x, y = point
    meant: dict[float, int] = {}  # seconds off to person
    boxes: list[str] = []
    reached = False  # the time of the point
    length = 0  # frames

    def noting() -> Watched:
        nonlocal reached, length
        for frame, (picture, faces) in enumerate(watched):
            off, length = abs(frame / fps - seconds), frame + 1
            if off <= max(NEAR, 0.5 / fps):
                reached = True
                for face in faces:
                    left, top, right, bottom = face.box.tolist()
                    boxes.append(f"{left:.0f} to {right:.0f} across and {top:.0f} to {bottom:.0f} down")
                    if left <= x < right and top <= y < bottom:
                        meant.setdefault(off, face.person)
            yield picture, faces

    persons = _persons(noting(), describe)
    if not reached:
        raise InputError(
            f"--face_at {seconds:g},{x:g},{y:g}: the time is past the {length / fps:.2f} s of the video that are used; "
            "give an earlier one"
        )
    if not meant:
        there = f"the faces there are {'; '.join(sorted(set(boxes))[:4])}" if boxes else "there is none at that time"
        raise InputError(f"--face_at {seconds:g},{x:g},{y:g}: no face at this point; {there}")
    return _same(persons, meant[min(meant)], alike)


def _persons(watched: Watched, describe: Describe) -> dict[int, Person]:
    """Everyone who is seen, by number."""
    persons: dict[int, Person] = {}
    for frame, (picture, faces) in enumerate(watched):
        for face in faces:
            person = persons.setdefault(face.person, Person())
            if len(person.frames) % EVERY == 0 and len(person.looks) < SAMPLES:
                person.looks += _described(picture, face.box, describe)
            person.frames.add(frame)
    return persons


def _same(persons: dict[int, Person], meant: int, alike: float) -> dict[int, float]:
    """Someone, and those who may be the same: alike, and never in a frame with them."""
    known = persons[meant]
    same = {meant: 1.0}
    for number, person in persons.items():
        likeness = person.likeness(known.looks)
        if number != meant and likeness >= alike and not person.frames & known.frames:
            same[number] = likeness
    return same


def _described(picture: np.ndarray, box: np.ndarray, describe: Describe) -> list[np.ndarray]:
    """The description of a face; none if nothing of its box (4,) lies in the picture."""
    (whole,) = whole_pixels(box[None], *picture.shape[:2])
    return [] if whole is None else [describe(cut(picture, whole))]
