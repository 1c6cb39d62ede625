"""Which of the faces in a frame get new lips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from face_detection.stream import TrackedFace
from wav2lip.errors import InputError

Choose = Callable[[Sequence[TrackedFace]], Sequence[TrackedFace]]  # asked for every frame, in order

NAMED = ("largest", "leftmost", "all")


def check(faces: str) -> None:
    """Raises: InputError if this is nothing that `chooser` knows."""
    if faces not in NAMED and not (faces.isascii() and faces.isdigit()):
        raise InputError(f"--faces is {faces}; choose one of {', '.join(NAMED)}, or 0, 1, 2 ... from left to right")


def chooser(faces: str) -> Choose:
    """largest, leftmost, or a place from left to right, counted from 0: taken when nobody is followed, and kept for as
    long as that person is there. all: everyone.
    """
    if faces == "all":
        return lambda present: present
    if faces == "largest":
        return _Following(lambda present: max(present, key=_area, default=None))
    place = 0 if faces == "leftmost" else int(faces)
    return _Following(lambda present: sorted(present, key=_left)[place] if place < len(present) else None)


def among(likeness: Mapping[int, float]) -> Choose:
    """Of the persons with a likeness, the most like one in each frame."""

    def choose(present: Sequence[TrackedFace]) -> list[TrackedFace]:
        meant = [face for face in present if face.person in likeness]
        return [max(meant, key=lambda face: likeness[face.person])] if meant else []

    return choose


class _Following:
    """Stays with the person who was taken first."""

    def __init__(self, take: Callable[[Sequence[TrackedFace]], TrackedFace | None]):
        self.take = take
        self.person: int | None = None

    def __call__(self, present: Sequence[TrackedFace]) -> list[TrackedFace]:
        for face in present:
            if face.person == self.person:
                return [face]
        taken = self.take(present)
        self.person = None if taken is None else taken.person
        return [] if taken is None else [taken]


def _left(face: TrackedFace) -> float:
    return float(face.box[0] + face.box[2]) / 2


def _area(face: TrackedFace) -> float:
    left, top, right, bottom = face.box.tolist()
    return (right - left) * (bottom - top)
