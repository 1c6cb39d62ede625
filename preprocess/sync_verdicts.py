"""What measured sync is worth: which clips are kept, which are set aside and why, and what to say of the whole set."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preprocess.manifest import OK, REJECTED, Record
from preprocess.places import Place
from wav2lip.errors import InputError
from wav2lip.sync import REACH

NOT_SPEAKING = "not the speaker"  # cause of clips of another face with the same sound
UNKNOWN_SPEAKER = "speaker unknown"  # cause of the same, where nobody could judge who speaks
FORMAT = 2  # raised when the same clips and settings give other figures than before
BY_CHANCE = 0.05  # share of sure clips up to which nothing was found; chance gives less than 0.01
WORTH_SAYING = 0.1  # share of clips shifted alike from which on that is a warning


@dataclass(frozen=True)
class SyncSettings:
    """How sync is judged."""

    expert: str | None = None  # checkpoint of a SyncNet; None: bootstrap
    sure: float = 4.0  # confidence from which on an offset is believed
    reach: int = REACH  # frames to either side over which the sound is slid
    folds: int = 3  # parts of the data set, each judged by an expert that saw only the others
    minutes: float = 60.0  # of video that is learned from at most
    others: int = 24  # clips whose sounds the lips of each clip are held against
    correct: bool = True  # move the sounds; False only measures
    device: str = "auto"  # for the expert of a checkpoint

    def __post_init__(self) -> None:
        if not (1 <= self.reach <= REACH and self.folds >= 2 and self.others >= 1 and self.minutes > 0):
            raise InputError(
                f"reach={self.reach} folds={self.folds} others={self.others} minutes={self.minutes}: give a reach from "
                f"1 to {REACH}, folds from 2, others from 1 and minutes above 0"
            )
        if self.expert is not None and not Path(self.expert).is_file():
            raise InputError(f"{self.expert}: no such expert; check the path, or leave expert= out to bootstrap one")

    @property
    def judge(self) -> str:
        """Who judges, in a word."""
        return "bootstrap" if self.expert is None else Path(self.expert).name

    def key(self) -> list[Any]:
        """What the figures depend on, in JSON types."""
        if self.expert is not None:
            stat = Path(self.expert).stat()
            return [FORMAT, self.judge, stat.st_size, stat.st_mtime_ns, self.reach, self.others]
        return [FORMAT, self.judge, self.reach, self.others, self.folds, self.minutes, self.sure]


def judge(record: Record, settings: SyncSettings, agreement_found: bool | None) -> Record:
    """A measured clip with its verdict: kept, and by how much its sound is moved, or set aside and why.

    agreement_found: of the whole set; None if it could not be judged, in which case nothing is set aside.
    """
    if record.fate != OK:
        return record
    found = record.figures
    sure = "offset" in found and found["confidence"] >= settings.sure and not found["at_edge"]
    figures = {**found, "sure": bool(sure and agreement_found)}
    if agreement_found is None:
        return replace(record, figures=figures)
    if sure and agreement_found:
        return replace(record, figures={**figures, "applied": found["offset"]} if settings.correct else figures)
    cause, reason = _why_not(found, settings, agreement_found)
    return replace(record, fate=REJECTED, cause=cause, reason=reason, figures=figures)


def _why_not(found: Mapping[str, Any], settings: SyncSettings, agreement_found: bool) -> tuple[str, str]:
    if not agreement_found:
        return "no agreement in the data set", (
            "sound and lips agree in hardly any clip of the data set: what this one's figures are worth is unknown"
        )
    if "offset" not in found:
        return "too short to judge sync", (
            f"has too few runs of five frames with their sound to slide it over {settings.reach} frames"
        )
    if found["confidence"] < settings.sure:
        return "no sync found", (
            f"its sound agrees with its lips at no shift within {settings.reach} frames (confidence "
            f"{found['confidence']:.1f}, {settings.sure:g} is sure): voice-over, or the sound of other pictures, or a "
            "face that the expert cannot read"
        )
    return "out of sync by too much", (
        f"its sound agrees with its lips best {abs(found['offset'])} frames "
        f"{'late' if found['offset'] > 0 else 'early'}, where the search ends: the true offset may be larger"
    )


def summary_of(records: Iterable[Record], settings: SyncSettings, rounds: list[dict[str, int]]) -> dict[str, Any]:
    """What to say of the set, from what was measured of its clips: dataset.json's "sync"."""
    told = [record.figures for record in records if record.fate == OK and "offset" in record.figures]
    sure = [found for found in told if found["confidence"] >= settings.sure and not found["at_edge"]]
    moved = Counter(found["offset"] for found in sure if found["offset"])
    agreement_found = len(sure) > max(2 if settings.expert is None else 0, BY_CHANCE * len(told)) if told else None
    done = moved.total() if settings.correct else sum(f["offset"] == f["applied"] for f in sure if f["offset"])
    summary: dict[str, Any] = {
        "expert": settings.judge,
        "agreement_found": agreement_found,
        "verdict": _sentence(agreement_found, len(told), len(sure), moved.total(), settings),
        "clips": len(told),
        "sure": len(sure) if agreement_found else 0,
        "corrected": done if agreement_found else 0,
        "unsure": len(told) - len(sure) if agreement_found else len(told),
        "rounds": rounds,
        "warnings": [],
    }
    if agreement_found:
        words = "corrected" if done == moved.total() else "not corrected"
        summary["warnings"] = [
            f"{count / len(told):.0%} of your clips are {frames(offset)}: {words}"
            for offset, count in moved.most_common()
            if count >= WORTH_SAYING * len(told)
        ]
    else:
        summary["warnings"] = [summary["verdict"]]
    return summary


def frames(offset: int) -> str:
    """An offset in words: how the sound lies to the lips."""
    return f"{abs(offset)} frame{'' if abs(offset) == 1 else 's'} {'late' if offset > 0 else 'early'}"


def _sentence(found: bool | None, told: int, sure: int, moved: int, settings: SyncSettings) -> str:
    if found is None:
        return "sync was not judged: there are too few clips, or they are too short, to compare with one another"
    if found:
        return f"lips and sound agree in {sure} of {told} clips, in {moved} of them only after a shift"
    blame = (
        "the sound belongs to other pictures, or there is too little to learn from"
        if settings.expert is None
        else f"the sound belongs to other pictures, or {settings.judge} cannot read these faces"
    )
    with_whom = "" if settings.expert is None else " with this expert"
    return (
        f"no agreement found{with_whom}: in {sure} of {told} clips lips and sound agree, which chance could do; {blame}"
    )


def keep_speakers(
    records: Mapping[str, Record],
    places: Mapping[str, Place],
    face_pixels: Mapping[str, float],
    agreement_found: bool | None,
) -> dict[str, Record]:
    """Of clips with different faces and the same sound, only the one whose lips surely agree best stays.

    records: as `measure_sync` gives them. places: of the same clips.
    face_pixels: of those that were measured; where sync could not be judged (agreement_found is None) the largest
        face stays. Where it was judged and nobody is sure, nothing changes.
    """
    kept = {clip: record for clip, record in records.items() if record.fate == OK}
    if agreement_found is None:
        cause, why = UNKNOWN_SPEAKER, "has the same sound and a larger face, and nobody could judge who speaks"
        rank = {clip: (-face_pixels.get(clip, 0.0), clip) for clip in kept}
    else:
        cause, why = NOT_SPEAKING, "has the same sound, and lips that agree with it better"
        rank = {clip: (-found.figures["confidence"], clip) for clip, found in kept.items() if found.figures.get("sure")}
    speakers: dict[str, _Apart] = {}  # by source
    for clip in sorted(rank, key=rank.__getitem__):
        taken = speakers.setdefault(places[clip].source, _Apart())
        if not taken.overlapping(places[clip]):
            taken.add(places[clip])
    result = dict(records)
    for clip, record in records.items():
        found = speakers.get(places[clip].source, _Apart()).overlapping(places[clip])
        by = [place.clip for place in found if place.clip != clip]
        if by and (agreement_found is not None or record.fate == OK):
            reason = f"{min(by, key=rank.__getitem__)} {why}"
            result[clip] = replace(record, fate=REJECTED, cause=cause, reason=reason)
    return result


class _Apart:
    """Places of one source that do not overlap, in order."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def add(self, place: Place) -> None:
        insort(self.places, place, key=_first)

    def overlapping(self, place: Place) -> list[Place]:
        """Those that a place overlaps."""
        # As they do not overlap, of those that begin before it only the last can reach into it.
        begin = max(0, bisect_right(self.places, place.first, key=_first) - 1)
        end = bisect_left(self.places, place.first + place.frames, key=_first)
        return [other for other in self.places[begin:end] if place.overlaps(other)]


def _first(place: Place) -> int:
    return place.first


def table(records: Mapping[str, Record], summary: Mapping[str, Any]) -> str:
    """What a person wants to read at the end: a line for each clip that is shifted or set aside, then the verdict."""
    lines = []
    for clip, record in records.items():
        if record.fate != OK:
            lines.append(f"{clip}: set aside, {record.cause}: {record.reason}")
        elif record.figures["sure"] and record.figures["offset"]:
            lines.append(f"{clip}: {frames(record.figures['offset'])} (confidence {record.figures['confidence']:.1f})")
    return "\n".join(
        [*lines, summary["verdict"], *(line for line in summary["warnings"] if line != summary["verdict"])]
    )
