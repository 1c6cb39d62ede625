"""Outcome of each input: the seconds kept in clips, and the stage and cause that dropped the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preprocess.ingest import Source
from preprocess.sync.decide import NOT_SPEAKING, UNKNOWN_SPEAKER
from preprocess.video_chunks import Span, VideoChunk, merge_spans, subtract_spans
from wav2lip.audio.windows import FPS
from wav2lip.execution.manifest import OK, REJECTED, Record

CLIP_STAGE_ORDER = ("sync", "quality", "splits")  # order of the stages that reject clips


@dataclass(frozen=True)
class Rejection:
    """Reason for which a clip, or a span of an input, is in no file list."""

    stage: str
    cause: str
    reason: str

    @classmethod
    def from_record(cls, record: Record) -> Rejection:
        return cls(record.stage, record.cause, record.reason)

    @property
    def rank(self) -> tuple[int, bool]:
        """Sort key: a clip rejected late passed more checks, and the speaker's rejection explains most."""
        return -CLIP_STAGE_ORDER.index(self.stage), self.cause in (NOT_SPEAKING, UNKNOWN_SPEAKER)


@dataclass(frozen=True)
class InputRecords:
    """Records of the video stages for one input."""

    source: Source
    probed: Record
    chunks: Sequence[tuple[VideoChunk, Mapping[str, Record]]]  # records by stage

    def clips(self) -> list[dict[str, Any]]:
        """Return its clips in time order, as the crops stage describes them."""
        return [
            clip
            for _, records in self.chunks
            if "crops" in records and records["crops"].status == OK
            for clip in records["crops"].data["clips"]
        ]

    def records(self) -> list[Record]:
        """Return all records, in time and stage order."""
        return [self.probed, *(record for _, records in self.chunks for record in records.values())]

    def frames(self) -> int:
        """Return the length at 25 fps: as decoded, or else as the file header states it."""
        header_frames = round(self.probed.data.get("seconds", 0) * FPS)
        ends = [_chunk_span(chunk, records, header_frames)[1] for chunk, records in self.chunks]
        return max(ends, default=header_frames)


def _chunk_span(chunk: VideoChunk, records: Mapping[str, Record], header_frames: int) -> Span:
    faces = records.get("faces")
    if faces is not None and faces.status == OK:
        return chunk.first, chunk.first + int(faces.data["frames"])
    return chunk.first, chunk.last or max(chunk.first, header_frames)


def dropped_spans(video: InputRecords, rejections: Mapping[str, Rejection]) -> list[dict[str, Any]]:
    """Return the seconds of an input that are in no kept clip, each once: from, to, stage, cause, reason.

    rejections: by clip. Where several stages would have dropped a second, the last one is named: a face that is too
    small is a better explanation than another one behind it that appeared too briefly.
    """
    kept_spans = [_clip_span(clip) for clip in video.clips() if clip["clip"] not in rejections]
    claims = [(_clip_span(clip), rejections[clip["clip"]]) for clip in video.clips() if clip["clip"] in rejections]
    claims.sort(key=lambda claim: claim[1].rank)
    claims += _stage_claims(video)
    return [
        {"from": first / FPS, "to": last / FPS, "stage": r.stage, "cause": r.cause, "reason": r.reason}
        for (first, last), r in _assign_once(claims, kept_spans)
    ]


def _stage_claims(video: InputRecords) -> list[tuple[Span, Rejection]]:
    """Return the spans dropped by the video stages, the latest stage first."""
    claims: list[tuple[Span, Rejection]] = []
    for stage in ("crops", "segments"):
        for chunk, records in video.chunks:
            record = records.get(stage)
            for first, last, by, cause in record.data.get("dropped", ()) if record is not None else ():
                claims.append(((chunk.first + first, chunk.first + last), Rejection(by, cause, "")))
    header_frames = round(video.probed.data.get("seconds", 0) * FPS)
    for chunk, records in video.chunks:
        end = _chunk_span(chunk, records, header_frames)[1]
        if chunk.last is not None and end < chunk.last:
            claims.append(((end, chunk.last), Rejection("faces", "not decoded", "the file is corrupt there")))
        for record in records.values():
            if record.status != OK:
                claims.append((_chunk_span(chunk, records, header_frames), Rejection.from_record(record)))
    if video.probed.status != OK:
        claims.append(((0, header_frames), Rejection.from_record(video.probed)))
    return claims


def _assign_once(claims: Iterable[tuple[Span, Rejection]], kept_spans: Iterable[Span]) -> list[tuple[Span, Rejection]]:
    """Assign each frame that is not kept to the first claim that contains it."""
    assigned, dropped = merge_spans(kept_spans), list[tuple[Span, Rejection]]()
    for span, rejection in claims:
        free = subtract_spans(span, assigned)
        dropped += [(rest, rejection) for rest in free]
        assigned = merge_spans([*assigned, *free])
    return sorted(dropped, key=lambda claim: claim[0])


def _clip_span(clip: Mapping[str, Any]) -> Span:
    return clip["first"], clip["first"] + clip["frames"]


def kept_seconds(video: InputRecords, rejections: Mapping[str, Rejection]) -> float:
    """Return the seconds of an input that are in some kept clip."""
    kept_spans = merge_spans(_clip_span(clip) for clip in video.clips() if clip["clip"] not in rejections)
    return sum(last - first for first, last in kept_spans) / FPS


def input_outcome(
    video: InputRecords, dropped: Sequence[Mapping[str, Any]], kept_seconds: float
) -> tuple[str, str, str]:
    """Return status, cause and reason of an input: OK if any of it is kept, else the main cause."""
    if kept_seconds:
        return OK, "", ""
    for record in video.records():
        if record.status != OK:
            return record.status, record.cause, record.reason
    if not dropped:
        return REJECTED, "nothing to keep", "contains nothing that could be kept"
    largest = max(dropped, key=lambda span: float(span["to"]) - float(span["from"]))
    return (
        REJECTED,
        largest["cause"],
        largest["reason"] or f"all of it was dropped, most by the stage {largest['stage']}",
    )
