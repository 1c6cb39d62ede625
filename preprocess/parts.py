"""A unit of the video stages: a video, or some minutes of a long one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from preprocess.ingest import Source
from preprocess.manifest import REJECTED, Record
from preprocess.settings import FPS, Settings
from wav2lip.errors import InputError


class Rejected(InputError):
    """An input that no clip can be made of; the text goes on after the input's name ("has no audio track; ...")."""

    def __init__(self, cause: str, sentence: str):
        """cause: the same few words for every input with this fault, to count by."""
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True)
class Part:
    """Frames of a video, counted at 25 a second."""

    source: Source
    number: int = 0
    first: int = 0
    last: int | None = None  # None: to the end

    @property
    def key(self) -> str:
        """Its name in the manifest."""
        return f"{self.source.clip}@{self.number}"


@dataclass(frozen=True)
class Task:
    """A part with what earlier stages found out about it."""

    part: Part
    found: Mapping[str, Record]  # by stage

    def rejected(self, stage: str, fingerprint: str, error: InputError) -> Record:
        """The record that says why no clip can be made."""
        cause = error.cause if isinstance(error, Rejected) else "unreadable"
        reason = without_path(str(error), self.part.source)
        return Record(stage, self.part.key, fingerprint, REJECTED, cause, reason)


def parts_of(source: Source, probed: Record, settings: Settings) -> list[Part]:
    """The parts of a video that can be read; one if it is short, is kept whole, or cannot be jumped in."""
    length = round(settings.part_minutes * 60 * FPS)
    count = math.ceil(probed.figures["seconds"] * FPS / length)
    if count <= 1 or not probed.figures["seekable"] or settings.segments.longest is None or settings.faces.fps is None:
        return [Part(source)]
    ends: list[int | None] = [*range(length, count * length, length), None]
    return [Part(source, number, number * length, end) for number, end in enumerate(ends)]


def without_path(sentence: str, source: Source) -> str:
    """A sentence about a video without its path: the row it stands in has the name already."""
    for path in (source.path.resolve(), source.path):
        sentence = sentence.removeprefix(f"{path}: ")
    return sentence
