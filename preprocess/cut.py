"""Stage 5: the clips themselves, face crops and sound."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from face_detection.sparse import Tracks
from preprocess.faces import load_tracks, tracks_path
from preprocess.manifest import Record, digest
from preprocess.parts import Rejected, Task, without_path
from preprocess.segments import Plan
from preprocess.settings import FPS, SHORTEST_SOUND, Settings
from preprocess.sound import Sound, VideoSound, write_mel
from preprocess.workers import Progress, Tools
from wav2lip import __version__, crops
from wav2lip.audio import SAMPLE_RATE
from wav2lip.clips import PARTIAL, ClipWriter, read_info
from wav2lip.errors import InputError
from wav2lip.media import read_frames

STAGE = "crops"
MISSING = 0.5  # seconds by which pictures or sound may end early without a note


@dataclass(frozen=True)
class Boxes:
    """The face of a clip of N frames."""

    boxes: np.ndarray  # (N, 4) float32, pixels of the upright frame; NaN where there is no face
    scores: np.ndarray  # (N,) float32; NaN where the detector did not see the face
    filled: np.ndarray  # (N,) bool
    landmarks: np.ndarray | None  # (N, 5, 2) float32

    @classmethod
    def of(cls, plan: Plan, tracks: Tracks, begin: int) -> Boxes:
        """begin: frame of the video at which the part begins."""
        n, offset = plan.frames, plan.first - begin
        boxes, scores = np.full((n, 4), np.nan, np.float32), np.full(n, np.nan, np.float32)
        filled, landmarks = np.zeros(n, bool), np.full((n, 5, 2), np.nan, np.float32)
        for piece in plan.pieces:
            track = tracks.tracks[piece.track]
            there = slice(piece.first - track.start, piece.last - track.start)
            here = slice(piece.first - offset, piece.last - offset)
            boxes[here], scores[here], filled[here] = track.boxes[there], track.scores[there], track.filled[there]
            if track.landmarks is not None:
                landmarks[here] = track.landmarks[there]
        return cls(boxes, scores, filled, None if np.isnan(landmarks).all() else landmarks)


@dataclass
class Open:
    """A clip that is being written."""

    plan: Plan
    writer: ClipWriter
    sound: Sound
    boxes: Boxes
    slices: list[tuple[int, int, int, int] | None]
    problems: list[str] = field(default_factory=list)
    frames: int = 0  # so far


@dataclass(frozen=True)
class Crops:
    """Cuts the clips of a part."""

    settings: Settings
    root: Path
    anew: bool = False  # cut what is there already again
    unmoved: bool = False  # and at least what sync has moved: nobody asked for that now

    def fingerprint(self, task: Task) -> str:
        """Changes with the segments."""
        return digest(STAGE, task.found["segments"].fingerprint)

    def __call__(self, task: Task, tools: Tools, progress: Progress) -> Record:
        """figures: clips (clip, first, frames, faces, filled), lost (as in `Segments`), problems.

        Clips that a killed run had finished are left as they are.
        """
        plans = [Plan.from_json(plan) for plan in task.found["segments"].figures["plans"]]
        mark = self.fingerprint(task)
        todo = [plan for plan in plans if self.anew or not self.stands(plan.clip, mark)]
        try:
            self._cut(task, todo, mark, progress)
            figures = self._figures(task, plans, mark)
        except InputError as error:
            return task.rejected(STAGE, mark, error)
        return Record(STAGE, task.part.key, mark, figures=figures)

    def stands(self, clip: str, mark: str) -> bool:
        """Whether a clip is there, as a run would cut it now."""
        info = self._info_of(clip)
        return info is not None and info.get("fingerprint") == mark and not (self.unmoved and info.get("sync_applied"))

    def _read(self, plan: Plan, mark: str) -> dict[str, Any] | None:
        """The clip.json of a planned clip; None if it is not there, or is that of another plan."""
        info = self._info_of(plan.clip)
        return info if info is not None and info.get("fingerprint") == mark else None

    def _info_of(self, clip: str) -> dict[str, Any] | None:
        try:
            return read_info(self.root / clip)
        except InputError:  # damaged: it is cut again
            return None

    def _cut(self, task: Task, plans: Sequence[Plan], mark: str, progress: Progress) -> None:
        """Read the frames once and write every clip as its frames pass."""
        if not plans:
            return
        part, fps = task.part, self.settings.faces.fps
        tracks = load_tracks(tracks_path(self.root, part))
        first = min(plan.first for plan in plans)
        last = max(plan.first + plan.frames for plan in plans)
        bounds = (first, last) if task.found["probe"].figures["seekable"] else (part.first, part.last)
        frames = read_frames(part.source.path, fps, _unheard, *(bounds if fps else ()))  # problems were noted before
        waiting, at_work = list(reversed(plans)), list[Open]()
        probed = task.found["probe"].figures
        with ExitStack() as abandoned:
            sound = VideoSound(part.source.path, probed["start"], probed["seekable"], self.root / PARTIAL)
            abandoned.enter_context(sound)
            for number, frame in _numbered(frames, bounds[0], last):
                while waiting and waiting[-1].first <= number:
                    begun = self._begin(task, waiting.pop(), tracks, sound)
                    if begun is not None:
                        abandoned.callback(begun.writer.discard)  # harmless for a clip that is in its place
                        at_work.append(begun)
                for clip in at_work:
                    place = number - clip.plan.first
                    box = clip.slices[place]
                    if box is not None:
                        clip.writer.write_frame(place, crops.cut(frame, box))
                    clip.frames += 1
                for clip in [clip for clip in at_work if clip.frames == len(clip.slices)]:
                    at_work.remove(clip)
                    self._finish(task, clip, tracks, mark)
                if number % FPS == 0:
                    progress((number - first) / (last - first))
            if at_work:  # the file was changed meanwhile, or is damaged
                raise InputError(f"{part.source.path}: gave fewer frames than the first time it was read; try it again")

    def _begin(self, task: Task, plan: Plan, tracks: Tracks, sound: VideoSound) -> Open | None:
        """Write a clip's sound; None if that is too short for a clip."""
        whole = self.settings.segments.longest is None
        problems = list[str]()
        writer = ClipWriter(self.root, plan.clip)
        writer.__enter__()
        # Numbers are read as 25 frames a second, so that is where the sound ends; the release never cut it.
        limit = None if self.settings.faces.fps is None else plan.frames * SAMPLE_RATE // FPS
        heard = sound.write(writer, plan.first * SAMPLE_RATE // FPS, limit, problems.append)
        frames = plan.frames if whole else min(plan.frames, int(heard.seconds * FPS + 0.5))
        shortest = SHORTEST_SOUND if whole else self.settings.segments.shortest
        if heard.seconds < SHORTEST_SOUND or (frames < plan.frames and frames / FPS < shortest - 1 / FPS):
            writer.discard()
            return None
        boxes = Boxes.of(plan, tracks, task.part.first)
        slices = crops.whole_pixels(boxes.boxes[:frames], tracks.height, tracks.width)
        return Open(plan, writer, heard, boxes, slices, [without_path(p, task.part.source) for p in problems])

    def _finish(self, task: Task, clip: Open, tracks: Tracks, mark: str) -> None:
        seconds = clip.frames / (self.settings.faces.fps or task.found["probe"].figures["fps"])
        if clip.sound.seconds < seconds - MISSING:
            clip.problems.append(
                f"its sound ends at {clip.sound.seconds:.1f} s of {seconds:.1f} s; frames after that are not trained on"
            )
        clip.writer.write_info(self._info(task, clip, tracks, mark))
        write_mel(clip.writer.folder)
        clip.writer.publish()

    def _info(self, task: Task, clip: Open, tracks: Tracks, mark: str) -> dict[str, Any]:
        """What clip.json says; the same for the same video and settings, whenever it is made."""
        source, probed, boxes = task.part.source, task.found["probe"].figures, clip.boxes
        n = clip.frames
        marks = boxes.landmarks
        return {
            "source": source.name,
            "source_size": source.size,  # bytes
            "source_modified": source.modified,  # nanoseconds since 1970
            "source_fps": probed["fps"],
            "source_nominal_fps": probed["nominal_fps"],
            "start": round(clip.plan.first / FPS, 3),  # seconds after the first frame of the source
            "face": clip.plan.face,  # which of the faces that were followed
            "width": tracks.width,  # pixels of an upright frame, in which the boxes are
            "height": tracks.height,
            "fps": self.settings.faces.fps,  # null: the source's own frames
            "frames": n,
            "frames_with_face": sum(box is not None for box in clip.slices),
            "sound_seconds": round(clip.sound.seconds, 4),
            "sound_peak": round(clip.sound.peak, 4),
            "detector": self.settings.faces.detector,
            "settings": asdict(self.settings),
            "fingerprint": mark,
            "problems": clip.problems,
            "sync_offset": None,  # frames by which the sound lay after the lips; unknown until it is measured
            "sync_confidence": None,
            "sync_applied": 0,  # frames by which the sound was moved to mend that
            "tool": f"wav2lip {__version__}",
            "filled": np.flatnonzero(boxes.filled[:n]).tolist(),  # frame numbers
            "scores": [_number(score, 3) for score in boxes.scores[:n]],
            "boxes": [_numbers(box) for box in boxes.boxes[:n]],
            "landmarks": None if marks is None else [_points(points) for points in marks[:n]],  # [x, y] of each
        }

    def _figures(self, task: Task, plans: Sequence[Plan], mark: str) -> dict[str, Any]:
        clips, lost, problems = [], [], dict[str, None]()
        for plan in plans:
            begin, end = plan.first - task.part.first, plan.first - task.part.first + plan.frames
            info = self._read(plan, mark)
            if info is None:
                lost.append([begin, end, STAGE, "too little sound"])
                continue
            clips.append(
                {"clip": plan.clip, "first": plan.first, "frames": info["frames"], "face": plan.face}
                | {"faces": info["frames_with_face"], "filled": len(info["filled"])}
            )
            problems |= dict.fromkeys(info["problems"])
            if info["frames"] < plan.frames:
                lost.append([begin + info["frames"], end, STAGE, "sound ended"])
        if plans and not clips:
            raise Rejected("too little sound", "has no sound under its pictures; training needs 0.2 s at least")
        return {"clips": clips, "lost": lost, "problems": list(problems)}


def _numbered(frames: Iterable[np.ndarray], first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    for number, frame in enumerate(frames, start=first):
        if number >= last:
            return
        yield number, frame


def _unheard(problem: str) -> None:
    """For what an earlier stage has noted."""


def _number(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


def _numbers(values: np.ndarray) -> list[float] | None:
    return None if np.isnan(values).any() else [round(float(value), 1) for value in values]


def _points(points: np.ndarray) -> list[list[float] | None] | None:
    return None if np.isnan(points).any() else [_numbers(point) for point in points]


def remove_clips(root: Path, clips: Iterable[str]) -> None:
    """Remove clips that no video gives any more."""
    for clip in clips:
        shutil.rmtree(root / clip, ignore_errors=True)
