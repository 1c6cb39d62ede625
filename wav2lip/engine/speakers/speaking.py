"""Selection of whoever speaks in the source: the lips of each person are compared with the audio of the source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Protocol

import numpy as np

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.engine.face_selection import SPEAKING, center_x
from wav2lip.engine.identity_matching import Track, join_tracks
from wav2lip.engine.interface import AssignVoices, Detection, Source
from wav2lip.engine.speakers.agreement import Evidence, Words, audio_activity
from wav2lip.engine.speakers.expert_agreement import ExpertAgreement
from wav2lip.engine.speakers.mouth_motion import MouthMotion, lip_activity, motion_above_rest
from wav2lip.engine.speakers.turns import Turn, choose_turns
from wav2lip.engine.speakers.voice_level import VoiceLevel
from wav2lip.engine.speakers.voices import Cepstra
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import SIMILARITY_THRESHOLD, Descriptor, describe_appearance
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
class _Face:
    """What was measured of one track."""

    first: int  # frame
    identity: Track = field(default_factory=Track)
    motion: MouthMotion = field(default_factory=MouthMotion)
    expert: ExpertAgreement | None = None
    positions: list[int] = field(default_factory=list)  # from left to right, in each frame

    def distance(self, frame: int) -> int:
        """Return the number of frames from the track to a frame; 0 if it is in the track."""
        return max(self.first - frame, frame - (self.first + len(self.positions) - 1), 0)


def assign_speaking(
    source: Source, detections: Iterable[Detection], pads: Pads, expert: StreamingExpert | None = None,
    describe: Descriptor = describe_appearance, threshold: float = SIMILARITY_THRESHOLD,
) -> AssignVoices:  # fmt: skip
    """Give the voice to whoever speaks in the source, and log the turns; reads the whole source.

    Tracks of one person, as before and after a cut, are judged together.

    detections: of the source from its first frame. expert: compares lips and audio; None: by the motion of the mouths.
    describe, threshold: tracks are of one person from this similarity of their descriptors on.
    Raises: InputError if the source has no audio, nobody speaks in it, or it shows no face.
    """
    fps = float(source.fps)
    level, cepstra, wav = _listen(source, keeps_wav=expert is not None)
    words = level.words(fps)
    if not words:
        raise InputError(f"{FLAG}: nobody speaks in the audio of {source.path}; select a face, for example --faces 0")
    faces, length = _watch(detections, pads, describe, expert, wav, fps)
    people = join_tracks({number: face.identity for number, face in faces.items()}, threshold)
    words = [(first, min(last, length)) for first, last in words if first < length]
    turns: list[Turn] = []
    if people and words:
        audio = audio_activity(level, cepstra, length, fps)
        evidence = _compare([[faces[number] for number in person] for person in people], audio, words, fps)
        turns = choose_turns(words, evidence.scores, evidence.voice_priors(cepstra.voices(words, fps), words, fps))
    for turn in turns:
        middle = (turn.first + turn.last) // 2
        face = min((faces[number] for number in people[turn.person]), key=methodcaller("distance", middle))
        logger.info(
            "%.2f-%.2f s: face %d from the left speaks, %.0f%% certain",
            turn.first / fps, turn.last / fps,
            face.positions[min(max(middle - face.first, 0), len(face.positions) - 1)], 100 * turn.certainty,
        )  # fmt: skip
    return _follow(turns, people)


def _compare(people: Sequence[Sequence[_Face]], audio: np.ndarray, words: Words, fps: float) -> Evidence:
    """Compare the lips of each person, given by tracks, with the audio (N,)."""

    def matrix(values: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
        rows = np.full((len(people), len(audio)), np.nan)
        for row, faces, parts in zip(rows, people, values, strict=True):
            for face, numbers in zip(faces, parts, strict=True):
                row[face.first : face.first + len(numbers)] = numbers
        return rows

    experts = [[face.expert.scores() for face in faces if face.expert is not None] for faces in people]
    if experts[0]:
        return Evidence.from_scores(matrix(experts), words)
    motions = [[np.array(face.motion.values) for face in faces] for faces in people]
    activity = matrix(lip_activity(motion, fps) for motion in motions)
    above_rest = matrix(motion_above_rest(motion, fps) for motion in motions)
    return Evidence.from_motion(activity, above_rest, audio, words, fps)


def _follow(turns: Sequence[Turn], people: Sequence[Sequence[int]]) -> AssignVoices:
    """Return the assignment of the turns, called for each frame in order."""
    order = (people[turn.person] for turn in turns for _ in range(turn.first, turn.last))

    def assign(present: Sequence[TrackedFace]) -> dict[int, int]:
        speaker = next(order, ())
        return {face.person: 0 for face in present if face.person in speaker}

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
    detections: Iterable[Detection], pads: Pads, describe: Descriptor, expert: StreamingExpert | None, wav: np.ndarray,
    fps: float,
) -> tuple[dict[int, _Face], int]:  # fmt: skip
    """Return what was measured of each track, and the number of frames."""
    faces: dict[int, _Face] = {}
    length = 0
    for index, (frame, present) in enumerate(detections):
        length = index + 1
        for position, tracked in enumerate(sorted(present, key=center_x)):
            face = faces.get(tracked.person)
            if face is None:
                face = faces[tracked.person] = _Face(index)
                face.expert = None if expert is None else ExpertAgreement(expert, wav, fps, index)
            face.identity.add(index, frame, tracked.box, describe)
            face.motion.add(frame, tracked)
            face.positions.append(position)
            if face.expert is not None:
                face.expert.add(_padded_crop(frame, tracked, pads))
    return faces, length


def _padded_crop(frame: np.ndarray, face: TrackedFace, pads: Pads) -> np.ndarray:
    (box,) = round_boxes(pad_boxes(face.box[None], pads, *frame.shape[:2]), *frame.shape[:2])
    return frame if box is None else crop_box(frame, box)
