"""One video measured: made if it is not there, its faces found, every judge asked. Few frames are held at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from wav2lip.audio import SAMPLE_RATE
from wav2lip.crops import cut
from wav2lip.errors import InputError
from wav2lip.evaluation.faces import Box, boxes_of, cut_faces, cut_heads, pixels_of
from wav2lip.evaluation.judges import Judges, detector_of, generator_of
from wav2lip.evaluation.metrics import Scores, frechet, not_computed
from wav2lip.evaluation.metrics.identity import Identity
from wav2lip.evaluation.metrics.landmarks import Landmarks
from wav2lip.evaluation.metrics.likeness import Likeness
from wav2lip.evaluation.metrics.look import Look, Measure
from wav2lip.evaluation.metrics.perceptual import Perceptual
from wav2lip.evaluation.metrics.sharpness import Sharpness
from wav2lip.evaluation.metrics.steadiness import Steadiness, silences
from wav2lip.evaluation.metrics.sync import (
    NO_EXPERT,
    NO_SYNCNET_V2,
    OF_EXPERT,
    OF_SYNCNET_V2,
    curve_of_expert,
    curve_of_syncnet_v2,
    scores_of,
)
from wav2lip.evaluation.strips import Strip
from wav2lip.evaluation.takes import Order, Take
from wav2lip.lipsync import Options
from wav2lip.media import first_frame_time, probe, read_audio, read_frames
from wav2lip.shift_curve import ShiftCurve
from wav2lip.windows import FPS

PLAIN = Options(blend="box", silence="off", precision="fp32")  # the generator itself, as the paper measured it
SPARE = 2  # frames by which a result may be longer than the video it was made from


@dataclass
class Measured:
    """What was found in one video."""

    scores: Scores
    curves: dict[str, ShiftCurve] = field(default_factory=dict)  # by judge: "lse", "expert"
    frames: int = 0
    with_face: int = 0
    strip: np.ndarray | None = None  # faces side by side, (h, w, 3) uint8 RGB
    features: np.ndarray | None = None  # (N, D) of the faces, for FID


def measure(take: Take, judges: Judges, boxes_folder: Path) -> Measured:
    """Everything that can be measured of a take.

    boxes_folder: where boxes of faces are kept.
    Raises: InputError if a file cannot be used, or no frame has a face.
    """
    if take.order is not None:
        make(take.order, take, judges)
    boxes = None if take.face_only else face_boxes(take, judges, boxes_folder)
    wav = sound_of(take.made)
    found = measure_pictures(take, judges, boxes, wav)
    for name, scores, curve in (_by_syncnet_v2(take, judges, boxes, wav), _by_expert(take, judges, boxes, wav)):
        found.scores |= scores
        if curve is not None:
            found.curves[name] = curve
    return found


def make(order: Order, take: Take, judges: Judges) -> None:
    """Let a generator make the video of a take.

    Raises: InputError if it cannot, or the sound is too long for the paper's lists.
    """
    face, sound = probe(order.face), probe(order.audio)
    if order.not_longer and face.seconds < sound.seconds:
        raise InputError(
            f"{order.face}: lasts {face.seconds:.2f} s, less than its sound {order.audio} with {sound.seconds:.2f} s; "
            "the paper leaves such pairs out"
        )
    stream = face.require_video()
    box = (0, stream.height, 0, stream.width) if take.face_only else None
    lipsync = generator_of(order.checkpoint, judges.settings)
    lipsync(face=order.face, audio=order.audio, outfile=take.made, options=replace(PLAIN, box=box, pads=order.pads))


def face_boxes(take: Take, judges: Judges, folder: Path) -> np.ndarray:
    """Boxes (N, 4) of the face: those of the video beside it where that lasts as long, so that all systems are cut
    alike, else its own.

    Raises: InputError if there is no face.
    """
    detector = judges.settings.detector
    wanted = int(probe(take.made).seconds * FPS) - SPARE
    for video in filter(None, (take.beside, take.made)):
        boxes = boxes_of(video, folder, lambda: detector_of(judges.settings), detector)
        if np.isnan(boxes).all():
            raise InputError(f"{video}: no face found in any of its {len(boxes)} frames; leave it out")
        if len(boxes) >= wanted:
            break
    return boxes


def sound_of(video: Path) -> np.ndarray:
    """(N,) float32 mono at 16 kHz, which begins with the first frame."""
    blocks = list(read_audio(video, SAMPLE_RATE, start=first_frame_time(video)))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def measure_pictures(take: Take, judges: Judges, boxes: np.ndarray | None, wav: np.ndarray) -> Measured:
    """All metrics of pictures, in one pass over the frames of the take, its truth and its source."""
    faces = frechet.FaceFeatures(judges.features) if judges.features else None
    measures: list[Measure] = [
        Likeness(),
        Perceptual(judges.lpips),
        Landmarks(judges.landmarks, judges.device),
        Sharpness(),
        Steadiness(silences(wav)),
        Identity(judges.identity, judges.device),
    ]
    found, strip = Measured(Scores()), Strip(int(probe(take.made).seconds * FPS))
    for look in looks(take, boxes):
        found.frames += 1
        if look is None:
            continue
        found.with_face += 1
        strip.add(look)
        for measure in measures:
            measure.add(look)
        if faces:
            faces.add(look)
    if not found.with_face:
        raise InputError(f"{take.made}: no frame has a face of 32 pixels or more; leave it out")
    for measure in measures:
        found.scores |= measure.scores()
    found.strip, found.features = strip.picture(), faces.found() if faces else None
    return found


def looks(take: Take, boxes: np.ndarray | None) -> Iterator[Look | None]:
    """Every frame of a take, cut at its face, beside those of its truth and source; None where there is no face.

    Raises: InputError if they are of another size.
    """
    before: tuple[np.ndarray, ...] = ()
    size: tuple[int, ...] = ()
    for number, (frame, beside) in enumerate(zip(_read(take.made), _beside(take), strict=False)):
        size = size or _size(frame, beside, take)
        frame = frame[: size[0], : size[1]]
        box: Box | None = (0, 0, size[1], size[0])
        if boxes is not None:
            box = pixels_of(boxes[number], *size) if number < len(boxes) else None
        if box is None:
            yield None
        else:
            earlier = tuple(cut(picture, box) for picture in before)
            source = None if beside is None else cut(beside, box)
            yield Look(number, cut(frame, box), earlier, source if take.truth == take.beside else None, source)
        before = (frame, *before[:1])


def _read(video: Path) -> Iterator[np.ndarray]:
    return read_frames(video, FPS, on_problem=lambda _: None)


def _beside(take: Take) -> Iterator[np.ndarray | None]:
    """The frames of the video beside a take; None without end where it has ended, or is not there."""
    there: Iterator[np.ndarray | None] = iter(()) if take.beside is None else _read(take.beside)
    return chain(there, repeat(None))


def _size(frame: np.ndarray, beside: np.ndarray | None, take: Take) -> tuple[int, int]:
    """Height and width that are looked at: those of what was not coded yet, as an odd size then grows by a row.

    Raises: InputError if the two are of different sizes otherwise.
    """
    height, width = frame.shape[:2]
    if beside is None:
        return height, width
    wanted = beside.shape[:2]
    if not (0 <= height - wanted[0] <= 1 and 0 <= width - wanted[1] <= 1):
        raise InputError(
            f"{take.made}: is of {width} x {height} pixels and {take.beside} of {wanted[1]} x {wanted[0]}; make them "
            "of one size"
        )
    return wanted[0], wanted[1]


def _by_syncnet_v2(
    take: Take, judges: Judges, boxes: np.ndarray | None, wav: np.ndarray
) -> tuple[str, Scores, ShiftCurve | None]:
    if judges.syncnet_v2 is None:
        return "lse", not_computed(OF_SYNCNET_V2, NO_SYNCNET_V2), None
    frames = _read(take.made)
    shown = frames if boxes is None or judges.settings.lse_frames == "whole" else cut_heads(frames, boxes)
    curve = curve_of_syncnet_v2(judges.syncnet_v2, shown, wav)
    if curve is None:
        return "lse", not_computed(OF_SYNCNET_V2, "no six frames in a row with a face and sound; leave it out"), None
    return "lse", scores_of(curve, OF_SYNCNET_V2), curve


def _by_expert(
    take: Take, judges: Judges, boxes: np.ndarray | None, wav: np.ndarray
) -> tuple[str, Scores, ShiftCurve | None]:
    if judges.expert is None:
        return "expert", not_computed(OF_EXPERT, NO_EXPERT), None
    curve = curve_of_expert(judges.expert, cut_faces(_read(take.made), boxes), wav)
    if curve is None:
        return "expert", not_computed(OF_EXPERT, "no 1.5 s of sound with a face in it; leave it out"), None
    return "expert", scores_of(curve, OF_EXPERT), curve
