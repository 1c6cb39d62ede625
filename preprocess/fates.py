"""What became of each second of each input: kept in a clip, or taken out by which stage and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preprocess.ingest import Source
from preprocess.manifest import OK, REJECTED, Record
from preprocess.parts import Part
from preprocess.segments import Span, union, without
from preprocess.settings import FPS
from preprocess.sync_verdicts import NOT_SPEAKING, UNKNOWN_SPEAKER

LATE = ("sync", "quality", "splits")  # stages that take clips out, in their order


@dataclass(frozen=True)
class Verdict:
    """Why a clip is in no file list."""

    stage: str
    cause: str
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[int, bool]:
        """The later the stage, the more a clip had in its favour; of several faces, the speaker tells most."""
        return -LATE.index(self.stage), self.cause in (NOT_SPEAKING, UNKNOWN_SPEAKER)


@dataclass(frozen=True)
class History:
    """What the video stages found out about one input."""

    source: Source
    probed: Record
    parts: Sequence[tuple[Part, Mapping[str, Record]]]  # records by stage

    def clips(self) -> list[tuple[Part, dict[str, Any]]]:
        """Its clips, as the crops stage tells of them, by their first frames."""
        return [
            (part, clip)
            for part, found in self.parts
            if "crops" in found and found["crops"].fate == OK
            for clip in found["crops"].figures["clips"]
        ]

    def records(self) -> list[Record]:
        """All records, in the order of the video and the stages."""
        return [self.probed, *(record for _, found in self.parts for record in found.values())]

    def frames(self) -> int:
        """How long it is, at 25 frames a second: as counted, or where that never came about, as its file states."""
        stated = round(self.probed.figures.get("seconds", 0) * FPS)
        ends = [_part_span(part, found, stated)[1] for part, found in self.parts]
        return max(ends, default=stated)


def _part_span(part: Part, found: Mapping[str, Record], stated: int) -> Span:
    faces = found.get("faces")
    if faces is not None and faces.fate == OK:
        return part.first, part.first + int(faces.figures["frames"])
    return part.first, part.last or max(part.first, stated)


def lost_spans(history: History, verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """The seconds of an input that are in no kept clip, each once: from, to, stage, cause, reason, figures.

    verdicts: of the clips that are in no file list. Where several stages would have taken a second, the last has it:
    a face that is too small is better to know of than another one behind it that was too brief.
    """
    kept = [_span(clip) for _, clip in history.clips() if clip["clip"] not in verdicts]
    claims: list[tuple[Span, Verdict]] = [
        (_span(clip), verdicts[clip["clip"]]) for _, clip in history.clips() if clip["clip"] in verdicts
    ]
    claims.sort(key=lambda claim: claim[1].rank)
    for stage in ("crops", "segments"):
        for part, found in history.parts:
            record = found.get(stage)
            for first, last, by, cause in record.figures.get("lost", ()) if record is not None else ():
                claims.append(((part.first + first, part.first + last), Verdict(by, cause, "")))
    stated = round(history.probed.figures.get("seconds", 0) * FPS)
    for part, found in history.parts:
        end = _part_span(part, found, stated)[1]
        if part.last is not None and end < part.last:
            claims.append(((end, part.last), Verdict("faces", "not decoded", "the file is damaged there")))
        for record in found.values():
            if record.fate != OK:
                claims.append((_part_span(part, found, stated), Verdict(record.stage, record.cause, record.reason)))
    if history.probed.fate != OK:
        claims.append(((0, stated), Verdict("probe", history.probed.cause, history.probed.reason)))
    return [
        {"from": first / FPS, "to": last / FPS, "stage": v.stage, "cause": v.cause, "reason": v.reason}
        | ({"figures": v.figures} if v.figures else {})
        for (first, last), v in _each_once(claims, kept)
    ]


def _each_once(claims: Iterable[tuple[Span, Verdict]], kept: Iterable[Span]) -> list[tuple[Span, Verdict]]:
    taken, lost = union(kept), list[tuple[Span, Verdict]]()
    for span, verdict in claims:
        free = without(span, taken)
        lost += [(rest, verdict) for rest in free]
        taken = union([*taken, *free])
    return sorted(lost, key=lambda claim: claim[0])


def _span(clip: Mapping[str, Any]) -> Span:
    return clip["first"], clip["first"] + clip["frames"]


def seconds_kept(history: History, verdicts: Mapping[str, Verdict]) -> float:
    """Seconds of an input that are in some kept clip."""
    kept = union(_span(clip) for _, clip in history.clips() if clip["clip"] not in verdicts)
    return sum(last - first for first, last in kept) / FPS


def fate_of(history: History, lost: Sequence[Mapping[str, Any]], kept: float) -> tuple[str, str, str]:
    """Fate, cause and reason of an input: OK if any of it is kept, else what took the most of it."""
    if kept:
        return OK, "", ""
    for record in history.records():
        if record.fate != OK:
            return record.fate, record.cause, record.reason
    if not lost:
        return REJECTED, "nothing to keep", "has nothing in it that could be kept"
    worst = max(lost, key=lambda span: float(span["to"]) - float(span["from"]))
    return REJECTED, worst["cause"], worst["reason"] or f"all of it was taken out, most by {worst['stage']}"
