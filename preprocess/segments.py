"""Stage 4: which seconds of which face become clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_detection.tracks import FaceTrack
from preprocess.faces import load_tracks, tracks_path
from preprocess.ingest import LONE_CLIP
from preprocess.manifest import Record, digest
from preprocess.parts import Part, Rejected, Task
from preprocess.settings import FEWEST_FACES, FPS, SegmentSettings
from preprocess.workers import Progress, Tools

STAGE = "segments"

Span = tuple[int, int]  # frames of a part: the first, and the one after the last


@dataclass(frozen=True)
class Piece:
    """A stretch of one track."""

    track: int  # number in the part's tracks
    first: int  # frames of the part
    last: int  # exclusive


@dataclass(frozen=True)
class Plan:
    """A clip to be cut."""

    clip: str  # GROUP/CLIP
    face: int  # number of its track: two clips of the same seconds differ in it
    first: int  # frame of the video at 25 a second
    frames: int
    pieces: tuple[Piece, ...]  # one, or in a clip of a whole video several, with gaps between them

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Read back what `dataclasses.asdict` gave."""
        return cls(**{**value, "pieces": tuple(Piece(**piece) for piece in value["pieces"])})


@dataclass(frozen=True)
class Segments:
    """Chooses the segments of a part."""

    settings: SegmentSettings
    root: Path

    def fingerprint(self, task: Task) -> str:
        """Changes with the tracks and the settings."""
        return digest(STAGE, asdict(self.settings), task.found["faces"].fingerprint)

    def __call__(self, task: Task, tools: Tools, progress: Progress) -> Record:
        """figures: plans (see `Plan`), lost ([first frame, last frame, stage, cause], of the part)."""
        tracks = load_tracks(tracks_path(self.root, task.part))
        try:
            if self.settings.longest is None:
                plans = [_whole(task.part, tracks.tracks, tracks.frames)]
                lost: list[list[Any]] = []
            else:
                plans = self._plans(task.part, tracks.tracks)
                lost = self._lost(plans, tracks.tracks, tracks.frames)
        except Rejected as error:
            return task.rejected(STAGE, self.fingerprint(task), error)
        figures = {"plans": [asdict(plan) for plan in plans], "lost": lost}
        return Record(STAGE, task.part.key, self.fingerprint(task), figures=figures)

    def _plans(self, part: Part, tracks: Sequence[FaceTrack]) -> list[Plan]:
        chosen = pieces_kept(tracks, self.settings.keep)
        shortest, longest = (round(s * FPS) for s in (self.settings.shortest, self.settings.longest or 0))
        cut = [
            Piece(piece.track, first, last)
            for piece in chosen
            for first, last in cut_up((piece.first, piece.last), shortest, longest)
        ]
        plans = []
        for piece in cut:
            beside = [p for p in cut if p.first == piece.first]
            place = sorted(beside, key=lambda p: (-_size(tracks[p.track]), p.track)).index(piece)
            first = part.first + piece.first
            clip = _clip_id(part, first, place)
            plans.append(Plan(clip, piece.track, first, piece.last - piece.first, (piece,)))
        return sorted(plans, key=lambda plan: (plan.first, plan.clip))

    def _lost(self, plans: Sequence[Plan], tracks: Sequence[FaceTrack], frames: int) -> list[list[Any]]:
        """Frames that are in no plan, and why."""
        kept = [(piece.first, piece.last) for plan in plans for piece in plan.pieces]
        seen = [(track.start, track.start + len(track.boxes)) for track in tracks]
        unseen = [[first, last, "faces", "no face"] for first, last in without((0, frames), seen)]
        brief = [
            [first, last, STAGE, "too short"]
            for span in union(seen)
            for first, last in without(span, kept)
        ]  # fmt: skip
        return sorted(unseen + brief)


def pieces_kept(tracks: Sequence[FaceTrack], keep: str) -> list[Piece]:
    """The stretches of tracks that may become clips.

    keep: "largest": at any moment the largest face; which one that is, is settled for whole tracks, the largest first.
        "all" or "speaking": every face; the sync stage settles who speaks.
    """
    kept: list[Piece] = []
    for number in sorted(range(len(tracks)), key=lambda n: (-_size(tracks[n]), n)):
        span = (tracks[number].start, tracks[number].start + len(tracks[number].boxes))
        taken = [(piece.first, piece.last) for piece in kept] if keep == "largest" else []
        kept += [Piece(number, first, last) for first, last in without(span, taken)]
    return kept


def cut_up(span: Span, shortest: int, longest: int) -> list[Span]:
    """Cut a span into equal lengths of at most `longest` and at least `shortest` frames; a rest may be left over."""
    first, length = span[0], span[1] - span[0]
    count = math.ceil(length / longest)
    if count and length // count < shortest:
        count -= 1  # so much shorter that pieces of the full length leave a rest
        length = min(length, count * longest)
    ends = [first + length * n // count for n in range(count + 1)] if count else []
    return list(pairwise(ends))


def without(span: Span, taken: Iterable[Span]) -> list[Span]:
    """What is left of a span when others are taken out of it."""
    rest, first = [], span[0]
    for begin, end in union(taken):
        if begin > first and first < span[1]:
            rest.append((first, min(begin, span[1])))
        first = max(first, end)
    return rest + ([(first, span[1])] if first < span[1] else [])


def union(spans: Iterable[Span]) -> list[Span]:
    """Spans joined where they touch or overlap, in order."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _whole(part: Part, tracks: Sequence[FaceTrack], frames: int) -> Plan:
    pieces = sorted(pieces_kept(tracks, "largest"), key=lambda piece: piece.first)
    found = sum(piece.last - piece.first for piece in pieces)
    if found < FEWEST_FACES:
        raise Rejected(
            "too few faces", f"shows a face in {found} of its {frames} frames; training needs {FEWEST_FACES}"
        )
    return Plan(part.source.clip, 0, 0, frames, tuple(pieces))


def _clip_id(part: Part, first: int, place: int) -> str:
    """GROUP/CLIP_FRAME, or GROUP/FRAME for a video in no folder; _1, _2, ... for smaller faces from the same frame on.

    The first frame names a clip, so that its name does not depend on what came of the rest of the video.
    """
    group, clip = part.source.clip.split("/")
    name = f"{first:06d}" if clip == LONE_CLIP else f"{clip}_{first:06d}"
    return f"{group}/{name}_{place}" if place else f"{group}/{name}"


def _size(track: FaceTrack) -> float:
    """Mean area of a face in square pixels."""
    width, height = (track.boxes[:, 2:] - track.boxes[:, :2]).T
    return float(np.mean(width * height))
