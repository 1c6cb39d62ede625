"""Selection of whoever speaks in the source: the lips of each person are compared with the audio of the source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.engine.face_selection import SPEAKING, center_x
from wav2lip.engine.interface import AssignVoices, Detection, Source
from wav2lip.engine.speakers.agreement import Evidence, Words, audio_activity
from wav2lip.engine.speakers.expert_agreement import ExpertAgreement
from wav2lip.engine.speakers.mouth_motion import MouthMotion, lip_activity, motion_above_rest
from wav2lip.engine.speakers.turns import Turn, choose_turns
from wav2lip.engine.speakers.voice_level import VoiceLevel
from wav2lip.engine.speakers.voices import Cepstra
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads, pad_boxes, round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.sync.expert import StreamingExpert

logger = logging.getLogger(__name__)

FLAG = f"--faces={SPEAKING}"


class AudibleSource(Source, Protocol):
    """A source with audio of its own."""

    def read_audio(self, rate: int) -> Iterator[np.ndarray]:
        """Yield blocks (n,) float32 mono at a rate in Hz, beginning with the first frame."""


@dataclass
class _Person:
    first: int  # frame
    motion: MouthMotion = field(default_factory=MouthMotion)
    expert: ExpertAgreement | None = None
    positions: list[int] = field(default_factory=list)  # from left to right, in each frame


def assign_speaking(
    source: Source, detections: Iterable[Detection], pads: Pads, expert: StreamingExpert | None = None
) -> AssignVoices:
    """Give the voice to whoever speaks in the source, and log the turns; reads the whole source.

    detections: of the source from its first frame. expert: compares lips and audio; None: by the motion of the mouths.
    Raises: InputError if the source has no audio, nobody speaks in it, or it shows no face.
    """
    fps = float(source.fps)
    level, cepstra, wav = _listen(source, keeps_wav=expert is not None)
    words = level.words(fps)
    if not words:
        raise InputError(f"{FLAG}: nobody speaks in the audio of {source.path}; select a face, for example --faces 0")
    people, length = _watch(detections, pads, expert, wav, fps)
    words = [(first, min(last, length)) for first, last in words if first < length]
    names = list(people)
    turns: list[Turn] = []
    if names and words:
        audio = audio_activity(level, cepstra, length, fps)
        evidence = _compare(list(people.values()), audio, words, fps)
        turns = choose_turns(words, evidence.scores, evidence.voice_priors(cepstra.voices(words, fps), words, fps))
    for turn in turns:
        person = people[names[turn.person]]
        middle = min(max((turn.first + turn.last) // 2 - person.first, 0), len(person.positions) - 1)
        logger.info(
            "%.2f-%.2f s: face %d from the left speaks, %.0f%% certain",
            turn.first / fps, turn.last / fps, person.positions[middle], 100 * turn.certainty,
        )  # fmt: skip
    return _follow(turns, names)


def _compare(people: Sequence[_Person], audio: np.ndarray, words: Words, fps: float) -> Evidence:
    """Compare the lips of each person with the audio (N,)."""

    def matrix(values: Iterable[np.ndarray]) -> np.ndarray:
        rows = np.full((len(people), len(audio)), np.nan)
        for row, person, numbers in zip(rows, people, values, strict=True):
            row[person.first : person.first + len(numbers)] = numbers
        return rows

    experts = [person.expert.scores() for person in people if person.expert is not None]
    if experts:
        return Evidence.from_scores(matrix(experts), words)
    motions = [np.array(person.motion.values) for person in people]
    activity = matrix(lip_activity(motion, fps) for motion in motions)
    above_rest = matrix(motion_above_rest(motion, fps) for motion in motions)
    return Evidence.from_motion(activity, above_rest, audio, words, fps)


def _follow(turns: Sequence[Turn], names: Sequence[int]) -> AssignVoices:
    """Return the assignment of the turns, called for each frame in order."""
    order = (names[turn.person] for turn in turns for _ in range(turn.first, turn.last))

    def assign(present: Sequence[TrackedFace]) -> dict[int, int]:
        speaker = next(order, None)
        return {face.person: 0 for face in present if face.person == speaker}

    return assign


def _listen(source: Source, keeps_wav: bool) -> tuple[VoiceLevel, Cepstra, np.ndarray]:
    """Return the level and the cepstra of the audio of a source, and its samples if they are needed."""
    read = getattr(source, "read_audio", None)
    if read is None or source.static:
        raise InputError(f"{FLAG}: requires a video file with audio; {source.path} is none, so select a face")
    kept: list[np.ndarray] = []

    def blocks() -> Iterator[np.ndarray]:
        for block in read(SAMPLE_RATE):
            if keeps_wav:
                kept.append(block)
            yield block

    level, cepstra = VoiceLevel.measure(blocks()), Cepstra.measure(read(SAMPLE_RATE))
    return level, cepstra, np.concatenate([np.zeros(0, np.float32), *kept])


def _watch(
    detections: Iterable[Detection], pads: Pads, expert: StreamingExpert | None, wav: np.ndarray, fps: float
) -> tuple[dict[int, _Person], int]:
    """Return what was measured of each track, and the number of frames."""
    people: dict[int, _Person] = {}
    length = 0
    for index, (frame, faces) in enumerate(detections):
        length = index + 1
        for position, face in enumerate(sorted(faces, key=center_x)):
            person = people.get(face.person)
            if person is None:
                person = people[face.person] = _Person(index)
                person.expert = None if expert is None else ExpertAgreement(expert, wav, fps, index)
            person.motion.add(frame, face)
            person.positions.append(position)
            if person.expert is not None:
                person.expert.add(_padded_crop(frame, face, pads))
    return people, length


def _padded_crop(frame: np.ndarray, face: TrackedFace, pads: Pads) -> np.ndarray:
    (box,) = round_boxes(pad_boxes(face.box[None], pads, *frame.shape[:2]), *frame.shape[:2])
    return frame if box is None else crop_box(frame, box)
