"""Assignment of voices to the faces of each frame, by position or by identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.engine.face_selection import Selector, center_x
from wav2lip.engine.interface import AssignVoices


def assign_one_voice(selector: Selector) -> AssignVoices:
    """Assign the only voice to the faces that a selector returns."""
    return lambda present: {face.person: 0 for face in selector(present)}


class PositionAssignment:
    """Give each voice to the face at a position from left to right, and follow each face while it is present.

    Positions are counted once all are occupied; until then, a voice may get the face of another person. A voice whose
    face is gone gets the face at its position next, unless that speaks with another voice.
    """

    def __init__(self, positions: Sequence[int]):
        """positions: of each voice, counted from 0."""
        self._positions = positions
        self._persons: list[int | None] = [None] * len(positions)
        self._is_counted = False  # True once all positions were occupied, until all these people are gone

    def __call__(self, present: Sequence[TrackedFace]) -> dict[int, int]:
        """Return the voice by person."""
        people = {face.person for face in present}
        self._persons = [person if person in people else None for person in self._persons]
        self._is_counted &= any(person is not None for person in self._persons)
        ordered = sorted(present, key=center_x)
        if not self._is_counted and len(ordered) > max(self._positions):
            self._persons = [ordered[position].person for position in self._positions]
            self._is_counted = True
        for voice, position in enumerate(self._positions):
            if self._persons[voice] is None and position < len(ordered):
                person = ordered[position].person
                self._persons[voice] = person if person not in self._persons else None
        return {person: voice for voice, person in enumerate(self._persons) if person is not None}


def assign_by_identity(similarities: Sequence[Mapping[int, float]]) -> AssignVoices:
    """Give each voice to its most similar track in each frame; no track gets two voices.

    similarities: of each voice, by candidate track.
    """

    def assign(present: Sequence[TrackedFace]) -> dict[int, int]:
        people = {face.person for face in present}
        candidates = [
            (similarity, voice, person)
            for voice, tracks in enumerate(similarities)
            for person, similarity in tracks.items()
            if person in people
        ]
        voices: dict[int, int] = {}
        for _, voice, person in sorted(candidates, reverse=True):
            if person not in voices and voice not in voices.values():
                voices[person] = voice
        return voices

    return assign
