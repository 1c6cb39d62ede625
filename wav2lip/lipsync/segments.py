"""Render a long result in segments, apart and in any order, with the same frames as at once.

What depends on all earlier frames is computed once, in the plan: the faces of each frame, and the closed mouths known
at the start of each segment. The colors of a face depend on a few earlier frames, so a segment begins with a margin
that is not written. Its mel windows are the same because the audio is read from its start, and the same faces share a
batch of the generator because segments and margins are multiples of it.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from wav2lip.arrays import read_arrays
from wav2lip.engine.inputs import open_source
from wav2lip.engine.interface import FaceTarget, OnProgress, Source
from wav2lip.engine.prepared import PreparedFace
from wav2lip.engine.result_stream import provenance_comment
from wav2lip.engine.timeline import KEEP_REST, decode, extension, first_frames, read_range
from wav2lip.errors import InputError
from wav2lip.faces.crops import crop_box, resize
from wav2lip.faces.roll_alignment import align_roll, keep_roll
from wav2lip.files import publish
from wav2lip.lipsync.audio_input import DrivingAudio, DrivingInput, open_driving_audio
from wav2lip.lipsync.closed_mouth_reference import ClosedMouthReference, MouthState
from wav2lip.lipsync.options import LipSyncOptions
from wav2lip.lipsync.pipeline import HASH_DIGITS, LipSync
from wav2lip.lipsync.silence import SilenceControl
from wav2lip.lipsync.stages import MAX_BATCH_BYTES
from wav2lip.media import VideoWriter
from wav2lip.media.joining import join_videos

MIN_MARGIN_FRAMES = 64  # after which COLOR_MOMENTUM has reduced the color of the frame before to 1e-14
NO_VOICE = -1  # in the file of a plan
INTERMEDIATE_SUFFIXES = {".avi": ".avi"}  # container of the segments by that of the result; others are joined from MP4


@dataclass(frozen=True)
class SegmentPlan:
    """What the segments of a result share."""

    frames: int  # length of the result
    step: int  # frames of a segment; the last one may be shorter
    margin: int  # frames before a segment that are rendered, but not written
    fit: str  # see `read_range`
    targets: Sequence[Sequence[FaceTarget]]  # faces to animate in each located source frame
    mouths: Sequence[MouthState]  # state at the start of each margin; empty if no mouth is closed

    @property
    def count(self) -> int:
        """Number of segments."""
        return -(-self.frames // self.step)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first frame of a segment and the one after its last."""
        return number * self.step, min((number + 1) * self.step, self.frames)

    def margin_start(self, number: int) -> int:
        """Return the first frame of the margin of a segment."""
        return max(0, number * self.step - self.margin)


@contextlib.contextmanager
def _open(
    lipsync: LipSync, face: Path, audio: DrivingInput, options: LipSyncOptions
) -> Iterator[tuple[Source, DrivingAudio, SilenceControl | None]]:
    """Open the inputs of a request; they are closed at the end."""
    source = open_source(face, options, options.compat)
    if isinstance(source, PreparedFace):
        raise InputError(f"{face}: is a prepared face, which is rendered at once; leave out the segments")
    with open_driving_audio(audio, source.fps, options) as driving:
        yield source, driving, lipsync.silence_control(source, driving.files, driving.length, options)


def plan_segments(
    lipsync: LipSync, face: Path, audio: DrivingInput, options: LipSyncOptions, seconds: float
) -> SegmentPlan:  # fmt: skip
    """Locate the faces of the whole video, and prepare its segments.

    seconds: length of a segment, rounded up to a multiple of the generator's batch.
    Raises: InputError naming the input that cannot be used.
    """
    with _open(lipsync, face, audio, options) as (source, driving, silence):
        length, nbytes = driving.length, 0
        locator = lipsync.face_locator(source, length, options)
        targets: list[Sequence[FaceTarget]] = []
        with contextlib.closing(decode(source)) as decoded:
            for frame, faces in locator.select(locator.detect(first_frames(decoded, length))):
                targets.append(faces)
                nbytes = frame.nbytes
            is_kept = options.short == "keep" and not source.static and len(targets) == length
            rest = sum(1 for _ in decoded) if is_kept else 0
        batch = _frames_per_batch(lipsync, options, nbytes)
        step, margin = (_round_up(n, batch) for n in (float(seconds * source.fps), MIN_MARGIN_FRAMES))
        is_trimmed = options.fit == "trim" and not source.static
        frames = min(length, len(targets)) if is_trimmed else length + rest
        fit = options.fit
        if options.compat != "public":
            fit = extension(fit, len(targets), length, source.fps)
        plan = SegmentPlan(frames, step, margin, KEEP_REST if rest else fit, targets, ())
        if silence is None or source.static:
            return plan
        return replace(plan, mouths=_find_mouths(lipsync, plan, source, silence, options))


def _frames_per_batch(lipsync: LipSync, options: LipSyncOptions, nbytes: int) -> int:
    """Return the frames that share a batch of the generator. nbytes: of a frame."""
    size = lipsync.generator.with_precision(options.generator_precision).call_size(options.wav2lip_batch_size)
    return max(1, min(size, MAX_BATCH_BYTES // max(1, nbytes)))


def _round_up(frames: float, batch: int) -> int:
    """Return the smallest positive multiple of a batch that is not below `frames`."""
    return max(1, math.ceil(frames / batch)) * batch


def _find_mouths(
    lipsync: LipSync, plan: SegmentPlan, source: Source, silence: SilenceControl, options: LipSyncOptions
) -> list[MouthState]:
    """Return the closed mouths known at the start of each margin; reads the frames in which nobody speaks."""
    closed_mouth, resolution = silence.closed_mouth, lipsync.generator.resolution
    assert isinstance(closed_mouth, ClosedMouthReference)
    align = align_roll if options.align else keep_roll
    states: list[MouthState] = []
    for number in range(plan.count):
        states.append(closed_mouth.state)
        end = plan.margin_start(number + 1) if number + 1 < plan.count else plan.margin_start(number)
        for first, last in _closed_spans(silence, plan.margin_start(number), end):
            for item in read_range(source, plan.targets, first, last, plan.fit):
                for target in item.targets:
                    face = align(item, target)
                    crop = resize(crop_box(face.item.frame, face.target.box), resolution, resolution)
                    silence.reference(item, target, crop)
    return states


def _closed_spans(silence: SilenceControl, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of frames whose mouths may not be fully open."""
    begin: int | None = None
    for index in range(first, last):
        if silence.is_open(index):
            if begin is not None:
                yield begin, index
            begin = None
        elif begin is None:
            begin = index
    if begin is not None:
        yield begin, last


def render_segment(
    lipsync: LipSync, plan: SegmentPlan, number: int, face: Path, audio: DrivingInput, outfile: Path,
    options: LipSyncOptions, progress: OnProgress | None = None,
) -> int:  # fmt: skip
    """Write the frames of one segment, without audio; returns their number.

    progress: called with the stage, finished frames and total frames.
    """
    first, last = plan.bounds(number)
    begin, count = plan.margin_start(number), 0
    with _open(lipsync, face, audio, options) as (source, driving, silence):
        if silence is not None and plan.mouths:
            assert isinstance(silence.closed_mouth, ClosedMouthReference)
            silence.closed_mouth.state = plan.mouths[number]
        timeline = read_range(source, plan.targets, begin, last, plan.fit)
        items = lipsync.animate(timeline, driving.voices, options, silence)
        with contextlib.closing(items), VideoWriter(outfile, source.fps, None, options.encoding) as video:
            for count, item in enumerate(items, start=1):
                if item.index >= first:
                    video.write(item.frame)
                if progress is not None:
                    progress("lips", count, last - begin)
            if count != last - begin:
                raise InputError(f"{face}: has {count} frames from frame {begin}, not {last - begin}; run again")
    return last - first


def join_segments(
    parts: Sequence[Path], audio: DrivingInput, outfile: Path, options: LipSyncOptions, frames: int, fps: Fraction,
    checkpoint: str,
) -> None:  # fmt: skip
    """Write the segments and the audio to the result, without re-encoding.

    checkpoint: SHA-256 of the generator's file, whose first digits go into the metadata.
    """
    suffix = outfile.suffix.lower()
    with open_driving_audio(audio, fps, options) as driving:
        join_videos(
            parts, outfile, driving.track,
            seconds=frames / fps if options.fit == "trim" else None,
            tag=options.encoding.options(suffix).get("tag:v"),
            comment=provenance_comment(checkpoint[:HASH_DIGITS]) if options.metadata else None,
        )  # fmt: skip


def segment_suffix(outfile: Path) -> str:
    """Return the suffix of the segments of a result."""
    return INTERMEDIATE_SUFFIXES.get(outfile.suffix.lower(), ".mp4")


def save_plan(plan: SegmentPlan, path: Path) -> None:
    """Write a plan atomically, as arrays."""
    faces = [target for frame in plan.targets for target in frame]
    points = {row: face.landmarks for row, face in enumerate(faces) if face.landmarks is not None}
    references = [
        (s, person, *pair) for s, state in enumerate(plan.mouths) for person, pair in state.references.items()
    ]
    searches = [(s, state.search) for s, state in enumerate(plan.mouths) if state.search is not None]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        size=np.array([plan.frames, plan.step, plan.margin, len(plan.mouths)]),
        fit=np.array(plan.fit),
        counts=np.array([len(frame) for frame in plan.targets], np.int64),
        boxes=np.array([face.box for face in faces], np.int64).reshape(-1, 4),
        persons=np.array([face.person for face in faces], np.int64),
        voices=np.array([NO_VOICE if face.voice is None else face.voice for face in faces], np.int64),
        missed=np.array([face.is_missed for face in faces], bool),
        with_landmarks=np.array(list(points), np.int64),
        landmarks=np.array(list(points.values()), np.float32).reshape(-1, 5, 2),
        reference_keys=np.array([r[:2] for r in references], np.int64).reshape(-1, 2),
        descriptors=np.array([r[2] for r in references]),
        with_crop=np.array([r[3] is not None for r in references], bool),
        crops=np.array([r[3] for r in references if r[3] is not None], np.uint8),
        searches=np.array([[s, h, *(box or (-1,) * 4)] for s, (box, h) in searches], np.int64).reshape(-1, 6),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(file.getvalue())
    publish(partial, path)


def load_plan(path: Path) -> SegmentPlan:
    """Read a plan of `save_plan`."""
    arrays = read_arrays(path)
    points = dict(zip(arrays["with_landmarks"].tolist(), arrays["landmarks"], strict=True))
    columns = (arrays[name].tolist() for name in ("boxes", "persons", "missed", "voices"))
    faces = [
        FaceTarget(tuple(box), points.get(row), person, is_missed, None if voice == NO_VOICE else voice)
        for row, (box, person, is_missed, voice) in enumerate(zip(*columns, strict=True))
    ]
    ends = np.cumsum(arrays["counts"]).tolist()
    targets = [faces[end - count : end] for end, count in zip(ends, arrays["counts"].tolist(), strict=True)]
    frames, step, margin, states = arrays["size"].tolist()
    return SegmentPlan(frames, step, margin, str(arrays["fit"]), targets, _load_mouths(arrays, states))


def _load_mouths(arrays: dict[str, np.ndarray], count: int) -> list[MouthState]:
    references: list[dict[int, tuple[np.ndarray, np.ndarray | None]]] = [{} for _ in range(count)]
    crops = iter(arrays["crops"])
    keys = zip(arrays["reference_keys"].tolist(), arrays["descriptors"], arrays["with_crop"].tolist(), strict=True)
    for (state, person), descriptor, has_crop in keys:
        references[state][person] = descriptor, next(crops) if has_crop else None
    searches = {s: (None if box[0] == -1 else tuple(box), h) for s, h, *box in arrays["searches"].tolist()}
    return [MouthState(references[s], searches.get(s)) for s in range(count)]  # type: ignore[arg-type]
