"""Stage 4: choose which seconds of which face become clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_detection.tracking.tracks import FaceTrack
from preprocess.config import MIN_FACE_FRAMES, SegmentSettings
from preprocess.ingest import SINGLE_CLIP
from preprocess.stages.faces import load_tracks, tracks_path
from preprocess.video_chunks import Rejected, Span, StageInput, VideoChunk, merge_spans, subtract_spans
from wav2lip.audio.windows import FPS
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import Record, hash_values

STAGE = "segments"


@dataclass(frozen=True)
class Piece:
    """A range of frames of one track."""

    track: int  # index among the tracks of the chunk
    first: int  # frames of the chunk
    last: int  # exclusive


@dataclass(frozen=True)
class ClipPlan:
    """A clip to be cropped."""

    clip: str  # GROUP/CLIP
    face: int  # index of its track, in which two clips of the same seconds differ
    first: int  # frame of the video at 25 fps
    frames: int
    pieces: tuple[Piece, ...]  # one; several, with gaps between them, where a whole video is one clip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ClipPlan:
        """Rebuild a plan from the output of `dataclasses.asdict`."""
        return cls(**{**value, "pieces": tuple(Piece(**piece) for piece in value["pieces"])})


@dataclass(frozen=True)
class SegmentsStage:
    """Plan the clips of a chunk."""

    settings: SegmentSettings
    root: Path

    def fingerprint(self, stage_input: StageInput) -> str:
        """Hash of the faces record and the settings."""
        return hash_values(STAGE, asdict(self.settings), stage_input.records["faces"].fingerprint)

    def __call__(self, stage_input: StageInput, context: WorkerContext, progress: Progress) -> Record:
        """Return plans (see `ClipPlan`) and dropped ([first, last, stage, cause], frames of the chunk)."""
        chunk, fingerprint = stage_input.chunk, self.fingerprint(stage_input)
        tracks = load_tracks(tracks_path(self.root, chunk))
        try:
            if self.settings.max_clip_seconds is None:
                plans, dropped = [_plan_single_clip(chunk, tracks.tracks, tracks.frames)], list[list[Any]]()
            else:
                plans = self._plan_clips(chunk, tracks.tracks, self.settings.max_clip_seconds)
                dropped = _dropped_spans(plans, tracks.tracks, tracks.frames)
        except Rejected as error:
            return stage_input.reject(STAGE, fingerprint, error)
        return Record(
            STAGE, chunk.key, fingerprint, data={"plans": [asdict(plan) for plan in plans], "dropped": dropped}
        )

    def _plan_clips(self, chunk: VideoChunk, tracks: Sequence[FaceTrack], max_seconds: float) -> list[ClipPlan]:
        min_frames, max_frames = round(self.settings.min_clip_seconds * FPS), round(max_seconds * FPS)
        pieces = [
            Piece(piece.track, first, last)
            for piece in select_pieces(tracks, self.settings.face_policy)
            for first, last in divide_span((piece.first, piece.last), min_frames, max_frames)
        ]
        plans = []
        for piece in pieces:
            simultaneous = [other for other in pieces if other.first == piece.first]
            rank = sorted(simultaneous, key=lambda p: (-_mean_area(tracks[p.track]), p.track)).index(piece)
            first = chunk.first + piece.first
            plans.append(ClipPlan(_clip_id(chunk, first, rank), piece.track, first, piece.last - piece.first, (piece,)))
        return sorted(plans, key=lambda plan: (plan.first, plan.clip))


def _dropped_spans(plans: Sequence[ClipPlan], tracks: Sequence[FaceTrack], frames: int) -> list[list[Any]]:
    """Return the frames that are in no plan, with the cause."""
    planned = [(piece.first, piece.last) for plan in plans for piece in plan.pieces]
    tracked = [(track.start, track.start + len(track.boxes)) for track in tracks]
    no_face = [[first, last, "faces", "no face"] for first, last in subtract_spans((0, frames), tracked)]
    too_short = [
        [first, last, STAGE, "too short"]
        for span in merge_spans(tracked)
        for first, last in subtract_spans(span, planned)
    ]  # fmt: skip
    return sorted(no_face + too_short)


def select_pieces(tracks: Sequence[FaceTrack], face_policy: str) -> list[Piece]:
    """Return the ranges of tracks that may become clips.

    face_policy: "largest": the largest face at any moment; tracks are ranked as a whole, by their mean area.
        "all" or "speaking": every face; the sync stage selects the speaker.
    """
    pieces: list[Piece] = []
    for number in sorted(range(len(tracks)), key=lambda n: (-_mean_area(tracks[n]), n)):
        span = (tracks[number].start, tracks[number].start + len(tracks[number].boxes))
        occupied = [(piece.first, piece.last) for piece in pieces] if face_policy == "largest" else []
        pieces += [Piece(number, first, last) for first, last in subtract_spans(span, occupied)]
    return pieces


def divide_span(span: Span, min_frames: int, max_frames: int) -> list[Span]:
    """Divide a span into equal lengths between `min_frames` and `max_frames`; a remainder may be dropped."""
    first, length = span[0], span[1] - span[0]
    count = math.ceil(length / max_frames)
    if count and length // count < min_frames:
        count -= 1  # Equal lengths would be too short: use full lengths and drop the remainder.
        length = min(length, count * max_frames)
    ends = [first + length * n // count for n in range(count + 1)] if count else []
    return list(pairwise(ends))


def _plan_single_clip(chunk: VideoChunk, tracks: Sequence[FaceTrack], frames: int) -> ClipPlan:
    pieces = sorted(select_pieces(tracks, "largest"), key=lambda piece: piece.first)
    with_face = sum(piece.last - piece.first for piece in pieces)
    if with_face < MIN_FACE_FRAMES:
        raise Rejected(
            "too few faces", f"shows a face in {with_face} of its {frames} frames; training needs {MIN_FACE_FRAMES}"
        )
    return ClipPlan(chunk.source.clip, 0, 0, frames, tuple(pieces))


def _clip_id(chunk: VideoChunk, first: int, rank: int) -> str:
    """Return GROUP/CLIP_FRAME, or GROUP/FRAME for a video in no folder; smaller simultaneous faces get _1, _2, ...

    A clip is named by its first frame, so that its name does not depend on the rest of the video.
    """
    group, clip = chunk.source.clip.split("/")
    name = f"{first:06d}" if clip == SINGLE_CLIP else f"{clip}_{first:06d}"
    return f"{group}/{name}_{rank}" if rank else f"{group}/{name}"


def _mean_area(track: FaceTrack) -> float:
    """Return the mean area of a face in square pixels."""
    width, height = (track.boxes[:, 2:] - track.boxes[:, :2]).T
    return float(np.mean(width * height))
