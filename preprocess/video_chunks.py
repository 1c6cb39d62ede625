"""Inputs of the video stages: a video, or a chunk of a long one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from preprocess.config import VideoSettings
from preprocess.ingest import Source
from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.execution.manifest import REJECTED, Record

Span = tuple[int, int]  # frames: the first, and the one after the last


class Rejected(InputError):
    """An input without a usable clip; the message continues the name of the input ("has no audio track; ...")."""

    def __init__(self, cause: str, message: str):
        """cause: short reason, the same for every input with this fault, to count by."""
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class VideoChunk:
    """A range of frames of a video, counted at 25 fps."""

    source: Source
    number: int = 0
    first: int = 0
    last: int | None = None  # exclusive; None: the end of the video

    @property
    def key(self) -> str:
        """Name in the manifest."""
        return f"{self.source.clip}@{self.number}"


@dataclass(frozen=True)
class StageInput:
    """A chunk with the records of the earlier stages."""

    chunk: VideoChunk
    records: Mapping[str, Record]  # key: stage

    def reject(self, stage: str, fingerprint: str, error: InputError) -> Record:
        """Return the record of a stage that found no usable clip."""
        cause = error.cause if isinstance(error, Rejected) else "unreadable"
        reason = strip_path(str(error), self.chunk.source)
        return Record(stage, self.chunk.key, fingerprint, REJECTED, cause, reason)


def split_into_chunks(source: Source, probed: Record, settings: VideoSettings) -> list[VideoChunk]:
    """Return the chunks of a video; one if it is short, becomes a single clip, or is not seekable."""
    length = round(settings.chunk_minutes * 60 * FPS)
    count = math.ceil(probed.data["seconds"] * FPS / length)
    is_single_clip = settings.segments.max_clip_seconds is None
    if count <= 1 or not probed.data["seekable"] or is_single_clip or settings.faces.fps is None:
        return [VideoChunk(source)]
    ends: list[int | None] = [*range(length, count * length, length), None]
    return [VideoChunk(source, number, number * length, end) for number, end in enumerate(ends)]


def strip_path(message: str, source: Source) -> str:
    """Remove the path from a message about a video, because the report names it beside the message."""
    for path in (source.path.resolve(), source.path):
        message = message.removeprefix(f"{path}: ")
    return message


def subtract_spans(span: Span, spans: Iterable[Span]) -> list[Span]:
    """Return the parts of a span that none of the spans covers, in order."""
    rest, first = [], span[0]
    for begin, end in merge_spans(spans):
        if begin > first and first < span[1]:
            rest.append((first, min(begin, span[1])))
        first = max(first, end)
    return rest + ([(first, span[1])] if first < span[1] else [])


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Merge spans that touch or overlap, in order."""
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
