"""Decide from measured offsets which clips are in sync, and summarize a data set."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preprocess.curation.clip_origin import ClipOrigin
from wav2lip.errors import InputError
from wav2lip.execution.manifest import OK, REJECTED, Record
from wav2lip.sync.expert import MAX_SHIFT

BOOTSTRAP = "bootstrap"  # name of an expert that is fitted to the data set itself
NOT_SPEAKING = "not the speaker"  # cause for another face with the same audio
UNKNOWN_SPEAKER = "speaker unknown"  # the same, where sync could not be measured
FORMAT = 3  # incremented when the same clips and settings give other figures than before
CHANCE_FRACTION = 0.05  # share of confident clips up to which there is no agreement; chance gives less than 0.01
MIN_BOOTSTRAP_CLIPS = 50  # with fewer, an expert is too weak to reject a clip by itself
MIN_MEAN_SCORE = 1.5  # standard deviations above chance of the mean confidence of a small data set
MIN_TOTAL_SCORE = 4.0  # the same of their sum, in standard deviations of a sum
MIN_WARNING_FRACTION = 0.1  # share of clips with one common offset


@dataclass(frozen=True)
class SyncSettings:
    """Measurement of sync and decision."""

    expert: str | None = None  # checkpoint of a SyncNet; None: bootstrap
    min_confidence: float = 4.0  # minimum of a trusted offset
    max_offset_frames: int = MAX_SHIFT  # range of the search, in both directions
    folds: int = 3  # parts of the data set, each measured by an expert fitted on the others
    bootstrap_minutes: float = 60.0  # maximum of video to which experts are fitted
    num_negatives: int = 24  # other clips with whose audio the lips of a clip are compared
    correct: bool = True  # shift audio on disk; False only measures
    device: str = "auto"  # device of a checkpoint's expert

    def __post_init__(self) -> None:
        if not 1 <= self.max_offset_frames <= MAX_SHIFT:
            raise InputError(f"max_offset_frames={self.max_offset_frames}: must be from 1 to {MAX_SHIFT}")
        if self.folds < 2:
            raise InputError(f"folds={self.folds}: must be 2 or more")
        if self.num_negatives < 1:
            raise InputError(f"num_negatives={self.num_negatives}: must be 1 or more")
        if not self.bootstrap_minutes > 0:
            raise InputError(f"bootstrap_minutes={self.bootstrap_minutes}: must be above 0")
        if self.expert is not None and not Path(self.expert).is_file():
            raise InputError(f"{self.expert}: no such expert; check the path, or omit it to bootstrap one")

    @property
    def expert_name(self) -> str:
        """File name of the checkpoint, or "bootstrap"."""
        return BOOTSTRAP if self.expert is None else Path(self.expert).name

    def cache_key(self) -> list[Any]:
        """Return the values on which measurements depend, of JSON types."""
        values = [FORMAT, self.expert_name, self.max_offset_frames, self.num_negatives]
        if self.expert is not None:
            stat = Path(self.expert).stat()
            return [*values, stat.st_size, stat.st_mtime_ns]
        return [*values, self.folds, self.bootstrap_minutes, self.min_confidence]

    def is_confident(self, data: Mapping[str, Any]) -> bool:
        """Return whether the offset of a measured clip can be trusted."""
        return "offset" in data and data["confidence"] >= self.min_confidence and not data["at_edge"]


def decide(record: Record, settings: SyncSettings, agreement_found: bool | None) -> Record:
    """Keep a measured clip, with the correction to apply, or reject it with the reason.

    agreement_found: for the whole data set; None if it could not be measured, in which case no clip is rejected.
    """
    if record.status != OK:
        return record
    measured = record.data
    confident = settings.is_confident(measured)
    data = {**measured, "confident": bool(confident and agreement_found)}
    if agreement_found is None:
        return replace(record, data=data)
    if confident and agreement_found:
        return replace(record, data={**data, "applied": measured["offset"]} if settings.correct else data)
    cause, reason = _rejection(measured, settings, agreement_found)
    return replace(record, status=REJECTED, cause=cause, reason=reason, data=data)


def _rejection(data: Mapping[str, Any], settings: SyncSettings, agreement_found: bool) -> tuple[str, str]:
    max_offset = settings.max_offset_frames
    if not agreement_found:
        return "no agreement in the data set", (
            "lips and audio agree in hardly any clip of the data set, so the figures of this one are not meaningful"
        )
    if "offset" not in data:
        return "too short to measure sync", (
            f"has too few runs of five frames to compare them with audio shifted by up to {max_offset} frames"
        )
    if data["confidence"] < settings.min_confidence:
        return "no sync found", (
            f"its audio matches its lips at no offset within {max_offset} frames (confidence {data['confidence']:.1f}, "
            f"minimum {settings.min_confidence:g}): voice-over, audio of another video, or a face that the expert "
            "cannot read"
        )
    return "out of sync by too much", (
        f"its audio matches its lips best {format_offset(data['offset'])}, at the end of the search range: the true "
        "offset may be larger"
    )


def summarize(records: Iterable[Record], settings: SyncSettings, rounds: list[dict[str, int]]) -> dict[str, Any]:
    """Summarize the measured clips of a data set: the "sync" of dataset.json."""
    measured = [record.data for record in records if record.status == OK and "offset" in record.data]
    confident = [data for data in measured if settings.is_confident(data)]
    offsets = Counter(data["offset"] for data in confident if data["offset"])
    min_confident = max(2 if settings.expert is None else 0, CHANCE_FRACTION * len(measured))
    agreement_found = len(confident) > min_confident if measured else None
    is_small = settings.expert is None and 2 * len(confident) <= len(measured) < MIN_BOOTSTRAP_CLIPS
    probable = is_small and is_agreement_probable(measured, settings.min_confidence)
    if probable:
        agreement_found = None
    corrected = offsets.total()
    if not settings.correct:
        corrected = sum(data["offset"] == data["applied"] for data in confident if data["offset"])
    conclusion = _conclusion(agreement_found, len(measured), len(confident), offsets.total(), settings)
    if probable:
        conclusion = _probable_conclusion(measured)
    warnings = [conclusion]
    if agreement_found:
        suffix = "corrected" if corrected == offsets.total() else "not corrected"
        warnings = [
            f"{count / len(measured):.0%} of your clips are {format_offset(offset)}: {suffix}"
            for offset, count in offsets.most_common()
            if count >= MIN_WARNING_FRACTION * len(measured)
        ]
    return {
        "expert": settings.expert_name,
        "agreement_found": agreement_found,
        "agreement_probable": probable,
        "conclusion": conclusion,
        "clips": len(measured),
        "confident": len(confident) if agreement_found else 0,
        "corrected": corrected if agreement_found else 0,
        "uncertain": len(measured) - len(confident) if agreement_found else len(measured),
        "rounds": rounds,
        "warnings": warnings,
    }


def is_agreement_probable(measured: Sequence[Mapping[str, Any]], min_confidence: float) -> bool:
    """Return whether clips agree together although hardly one is confident alone.

    A confidence is a standard score, so that its mean over clips is a finer test than any one; confident clips count
    as barely confident, so that one of them does not decide. Measured on six real videos of 42 s in all: a mean of 1.8
    (2.7 with an uncut pool), and -0.1 to 0.9 with the audio of other videos in five ways.
    """
    scores = [min(data["confidence"], min_confidence) for data in measured]
    mean = sum(scores) / max(1, len(scores))
    return bool(mean >= MIN_MEAN_SCORE and mean * len(scores) ** 0.5 >= MIN_TOTAL_SCORE)


def _probable_conclusion(measured: Sequence[Mapping[str, Any]]) -> str:
    confidences = sorted(data["confidence"] for data in measured)
    return (
        f"lips and audio probably agree: the confidences of {len(measured)} clips, from {confidences[0]:.1f} to "
        f"{confidences[-1]:.1f}, are above chance together; there is too little data to be sure of each, so all are "
        "kept and none is corrected"
    )


def format_offset(offset: int) -> str:
    """Return an offset in words, such as "2 frames late" for audio that lags video."""
    return f"{abs(offset)} frame{'' if abs(offset) == 1 else 's'} {'late' if offset > 0 else 'early'}"


def _conclusion(
    agreement_found: bool | None, measured: int, confident: int, shifted: int, settings: SyncSettings
) -> str:
    if agreement_found is None:
        return "sync was not measured: there are too few clips, or they are too short, to compare with one another"
    if agreement_found:
        return f"lips and audio agree in {confident} of {measured} clips, {shifted} of them at a non-zero offset"
    explanation = "the audio belongs to other videos, or there is too little data to bootstrap an expert"
    if settings.expert is not None:
        explanation = f"the audio belongs to other videos, or {settings.expert_name} cannot read these faces"
    suffix = "" if settings.expert is None else " with this expert"
    return (
        f"no agreement found{suffix}: lips and audio agree in {confident} of {measured} clips, no more than by chance; "
        f"{explanation}"
    )


def select_speakers(
    records: Mapping[str, Record],
    origins: Mapping[str, ClipOrigin],
    face_pixels: Mapping[str, float],
    agreement_found: bool | None,
) -> dict[str, Record]:
    """Keep only the clip with the most confident sync among clips with different faces and the same audio.

    records: of `run_sync`. origins: of the same clips.
    face_pixels: of the measured clips; where sync could not be measured (agreement_found is None), the largest face is
        kept. Where it was measured and no clip is confident, nothing changes.
    """
    kept_records = {clip: record for clip, record in records.items() if record.status == OK}
    if agreement_found is None:
        cause, explanation = UNKNOWN_SPEAKER, "has the same audio and a larger face, and sync could not be measured"
        rank = {clip: (-face_pixels.get(clip, 0.0), clip) for clip in kept_records}
    else:
        cause, explanation = NOT_SPEAKING, "has the same audio, and lips that match it better"
        confident = {clip: record for clip, record in kept_records.items() if record.data.get("confident")}
        rank = {clip: (-record.data["confidence"], clip) for clip, record in confident.items()}
    speakers: dict[str, _DisjointOrigins] = {}  # key: source
    for clip in sorted(rank, key=rank.__getitem__):
        selected = speakers.setdefault(origins[clip].source, _DisjointOrigins())
        if not selected.overlapping(origins[clip]):
            selected.add(origins[clip])
    result = dict(records)
    for clip, record in records.items():
        selected = speakers.get(origins[clip].source, _DisjointOrigins())
        better = [origin.clip for origin in selected.overlapping(origins[clip]) if origin.clip != clip]
        if better and (agreement_found is not None or record.status == OK):
            reason = f"{min(better, key=rank.__getitem__)} {explanation}"
            result[clip] = replace(record, status=REJECTED, cause=cause, reason=reason)
    return result


class _DisjointOrigins:
    """Sorted origins of one source that do not overlap."""

    def __init__(self) -> None:
        self.origins: list[ClipOrigin] = []

    def add(self, origin: ClipOrigin) -> None:
        insort(self.origins, origin, key=_first)

    def overlapping(self, origin: ClipOrigin) -> list[ClipOrigin]:
        """Return the origins that overlap another one."""
        # Since they are disjoint, only the last one that begins earlier can reach into it.
        begin = max(0, bisect_right(self.origins, origin.first, key=_first) - 1)
        end = bisect_left(self.origins, origin.first + origin.frames, key=_first)
        return [other for other in self.origins[begin:end] if origin.overlaps(other)]


def _first(origin: ClipOrigin) -> int:
    return origin.first


def format_table(records: Mapping[str, Record], summary: Mapping[str, Any]) -> str:
    """Return the output of the command: a line per rejected or shifted clip, then the conclusion."""
    lines = []
    for clip, record in records.items():
        if record.status != OK:
            lines.append(f"{clip}: {record.status}, {record.cause}: {record.reason}")
        elif record.data["confident"] and record.data["offset"]:
            offset, confidence = format_offset(record.data["offset"]), record.data["confidence"]
            lines.append(f"{clip}: {offset} (confidence {confidence:.1f})")
    warnings = [line for line in summary["warnings"] if line != summary["conclusion"]]
    return "\n".join([*lines, summary["conclusion"], *warnings])
