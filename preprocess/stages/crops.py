"""Stage 5: write the clips, face crops and audio."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from face_detection.tracking.tracks import Tracks
from preprocess.audio_track import AudioStats, VideoAudio, write_mel
from preprocess.config import MIN_AUDIO_SECONDS, VideoSettings
from preprocess.stages.faces import load_tracks, tracks_path
from preprocess.stages.segments import ClipPlan
from preprocess.video_chunks import Rejected, StageInput, strip_path
from wav2lip import __version__
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME
from wav2lip.dataset.clip import PARTIAL_DIR, ClipWriter, read_info
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import Record, hash_values
from wav2lip.faces.boxes import Pads, pad_boxes, round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.faces.framing import KEY
from wav2lip.media import read_frames

STAGE = "crops"
MISSING_AUDIO_SECONDS = 0.5  # the audio may end so much earlier without a problem being noted


@dataclass(frozen=True)
class ClipBoxes:
    """The face of a clip of N frames."""

    boxes: np.ndarray  # (N, 4) float32, pixels of the upright frame; NaN where there is no face
    scores: np.ndarray  # (N,) float32; NaN where the detector found no face
    filled: np.ndarray  # (N,) bool: interpolated
    landmarks: np.ndarray | None  # (N, 5, 2) float32

    @classmethod
    def from_tracks(cls, plan: ClipPlan, tracks: Tracks, chunk_first: int) -> ClipBoxes:
        """chunk_first: first frame of the chunk in the video."""
        n, offset = plan.frames, plan.first - chunk_first
        boxes, scores = np.full((n, 4), np.nan, np.float32), np.full(n, np.nan, np.float32)
        filled, landmarks = np.zeros(n, bool), np.full((n, 5, 2), np.nan, np.float32)
        for piece in plan.pieces:
            track = tracks.tracks[piece.track]
            source = slice(piece.first - track.start, piece.last - track.start)
            target = slice(piece.first - offset, piece.last - offset)
            boxes[target], scores[target] = track.boxes[source], track.scores[source]
            filled[target] = track.filled[source]
            if track.landmarks is not None:
                landmarks[target] = track.landmarks[source]
        return cls(boxes, scores, filled, None if np.isnan(landmarks).all() else landmarks)


@dataclass
class OpenClip:
    """A clip that is being written."""

    plan: ClipPlan
    writer: ClipWriter
    audio: AudioStats
    boxes: ClipBoxes
    slices: list[tuple[int, int, int, int] | None]
    problems: list[str] = field(default_factory=list)
    frames: int = 0  # written so far


@dataclass(frozen=True)
class CropsStage:
    """Write the clips of a chunk."""

    settings: VideoSettings
    root: Path
    overwrite: bool = False  # write existing clips again
    restore_audio: bool = False  # write clips again whose audio the sync stage has shifted, because it is off now

    def fingerprint(self, stage_input: StageInput) -> str:
        """Hash of the segments record, and of the pads if there are any."""
        pads = self.settings.pads
        return hash_values(
            STAGE, stage_input.records["segments"].fingerprint, *([asdict(pads)] if pads != Pads() else [])
        )

    def __call__(self, stage_input: StageInput, context: WorkerContext, progress: Progress) -> Record:
        """Return clips (clip, first, frames, face, faces, filled), dropped (as in `SegmentsStage`) and problems.

        Clips that a killed run had completed are skipped.
        """
        plans = [ClipPlan.from_json(plan) for plan in stage_input.records["segments"].data["plans"]]
        fingerprint = self.fingerprint(stage_input)
        remaining = [plan for plan in plans if self.overwrite or not self.is_current(plan.clip, fingerprint)]
        try:
            self._write_clips(stage_input, remaining, fingerprint, progress)
            data = self._summarize(stage_input, plans, fingerprint)
        except InputError as error:
            return stage_input.reject(STAGE, fingerprint, error)
        return Record(STAGE, stage_input.chunk.key, fingerprint, data=data)

    def is_current(self, clip: str, fingerprint: str) -> bool:
        """Return whether a clip exists as this run would write it."""
        info = self._read_info(clip, fingerprint)
        return info is not None and not (self.restore_audio and info.get("sync_applied"))

    def _read_info(self, clip: str, fingerprint: str) -> dict[str, Any] | None:
        """Return the clip.json of a clip; None if it is missing, corrupt or of another plan."""
        try:
            info = read_info(self.root / clip)
        except InputError:  # A corrupt clip is written again.
            return None
        return info if info is not None and info.get("fingerprint") == fingerprint else None

    def _write_clips(
        self, stage_input: StageInput, plans: Sequence[ClipPlan], fingerprint: str, progress: Progress
    ) -> None:
        """Decode the frames once and write each clip while its frames pass."""
        if not plans:
            return
        chunk, fps = stage_input.chunk, self.settings.faces.fps
        probed = stage_input.records["probe"].data
        tracks = load_tracks(tracks_path(self.root, chunk))
        first = min(plan.first for plan in plans)
        last = max(plan.first + plan.frames for plan in plans)
        bounds = (first, last) if probed["seekable"] else (chunk.first, chunk.last)
        frames = read_frames(chunk.source.path, fps, _ignore_problem, *(bounds if fps else ()))
        pending, open_clips = list(reversed(plans)), list[OpenClip]()
        with ExitStack() as cleanup:
            path = self.settings.select_audio(chunk.source.path)
            audio = VideoAudio(path, probed["start"], probed["seekable"], self.root / PARTIAL_DIR)
            cleanup.enter_context(audio)
            for number, frame in _enumerate_until(frames, bounds[0], last):
                while pending and pending[-1].first <= number:
                    clip = self._open_clip(stage_input, pending.pop(), tracks, audio)
                    if clip is not None:
                        cleanup.callback(clip.writer.discard)  # A no-op for a published clip.
                        open_clips.append(clip)
                for clip in open_clips:
                    index = number - clip.plan.first
                    box = clip.slices[index]
                    if box is not None:
                        clip.writer.write_frame(index, crop_box(frame, box))
                    clip.frames += 1
                for clip in [clip for clip in open_clips if clip.frames == len(clip.slices)]:
                    open_clips.remove(clip)
                    self._publish_clip(stage_input, clip, tracks, fingerprint)
                if number % FPS == 0:
                    progress((number - first) / (last - first))
            if open_clips:  # The file changed during the run, or is corrupt.
                raise InputError(f"{chunk.source.path}: has fewer frames than on the first pass; run again")

    def _open_clip(
        self, stage_input: StageInput, plan: ClipPlan, tracks: Tracks, video_audio: VideoAudio
    ) -> OpenClip | None:
        """Write the audio of a clip; None if it is too short for a clip."""
        source, chunk_first = stage_input.chunk.source, stage_input.chunk.first
        problems = list[str]()
        writer = ClipWriter(self.root, plan.clip)
        writer.__enter__()
        # Frame numbers mean 25 fps, so the audio ends with the frames; upstream never truncates it.
        limit = None if self.settings.faces.fps is None else plan.frames * SAMPLES_PER_FRAME
        audio = video_audio.write(writer, plan.first * SAMPLES_PER_FRAME, limit, problems.append)
        frames, min_seconds = plan.frames, MIN_AUDIO_SECONDS
        if self.settings.segments.max_clip_seconds is not None:
            frames = min(plan.frames, int(audio.seconds * FPS + 0.5))
            min_seconds = self.settings.segments.min_clip_seconds
        is_cut_short = frames < plan.frames and frames / FPS < min_seconds - 1 / FPS
        if audio.seconds < MIN_AUDIO_SECONDS or is_cut_short:
            writer.discard()
            return None
        boxes = ClipBoxes.from_tracks(plan, tracks, chunk_first)
        padded = pad_boxes(boxes.boxes[:frames], self.settings.pads, tracks.height, tracks.width)
        slices = round_boxes(padded, tracks.height, tracks.width)
        return OpenClip(plan, writer, audio, boxes, slices, [strip_path(problem, source) for problem in problems])

    def _publish_clip(self, stage_input: StageInput, clip: OpenClip, tracks: Tracks, fingerprint: str) -> None:
        seconds = clip.frames / (self.settings.faces.fps or stage_input.records["probe"].data["fps"])
        if clip.audio.seconds < seconds - MISSING_AUDIO_SECONDS:
            clip.problems.append(
                f"its audio ends at {clip.audio.seconds:.1f} s of {seconds:.1f} s; later frames are not trained on"
            )
        clip.writer.write_info(self._clip_info(stage_input, clip, tracks, fingerprint))
        write_mel(clip.writer.folder)
        clip.writer.publish()

    def _clip_info(self, stage_input: StageInput, clip: OpenClip, tracks: Tracks, fingerprint: str) -> dict[str, Any]:
        """Return the content of clip.json; it depends on the video and the settings alone."""
        source, probed, boxes = stage_input.chunk.source, stage_input.records["probe"].data, clip.boxes
        n, landmarks = clip.frames, clip.boxes.landmarks
        return {
            "source": source.name,
            "source_size": source.size,  # bytes
            "source_sha256": source.digest,
            "source_fps": probed["fps"],
            "source_nominal_fps": probed["nominal_fps"],
            "start": round(clip.plan.first / FPS, 3),  # seconds after the first frame of the source
            "face": clip.plan.face,  # index of the track
            "width": tracks.width,  # pixels of the upright frame to which the boxes refer
            "height": tracks.height,
            "fps": self.settings.faces.fps,  # null: not resampled
            "frames": n,
            "frames_with_face": sum(box is not None for box in clip.slices),
            "audio_seconds": round(clip.audio.seconds, 4),
            "audio_peak": round(clip.audio.peak, 4),
            "detector": self.settings.faces.detector_name,
            "settings": asdict(self.settings),
            KEY: self.settings.framing.to_json(),
            "fingerprint": fingerprint,
            "problems": clip.problems,
            "sync_offset": None,  # frames by which the audio lagged the lips; null until it is measured
            "sync_confidence": None,
            "sync_applied": 0,  # frames by which the audio was shifted to correct the offset
            "tool": f"wav2lip {__version__}",
            "filled": np.flatnonzero(boxes.filled[:n]).tolist(),  # frame numbers
            "scores": [_round_score(score) for score in boxes.scores[:n]],
            "boxes": [_round_pixels(box) for box in boxes.boxes[:n]],
            "landmarks": None if landmarks is None else [_round_points(points) for points in landmarks[:n]],
        }

    def _summarize(self, stage_input: StageInput, plans: Sequence[ClipPlan], fingerprint: str) -> dict[str, Any]:
        """Return the data of the record, read from the clips on disk."""
        clips, dropped, problems = [], [], dict[str, None]()
        for plan in plans:
            begin, end = plan.first - stage_input.chunk.first, plan.first - stage_input.chunk.first + plan.frames
            info = self._read_info(plan.clip, fingerprint)
            if info is None:
                dropped.append([begin, end, STAGE, "too little audio"])
                continue
            clips.append(
                {"clip": plan.clip, "first": plan.first, "frames": info["frames"], "face": plan.face}
                | {"faces": info["frames_with_face"], "filled": len(info["filled"])}
            )
            problems |= dict.fromkeys(info["problems"])
            if info["frames"] < plan.frames:
                dropped.append([begin + info["frames"], end, STAGE, "audio ended"])
        if plans and not clips:
            raise Rejected("too little audio", f"has less than {MIN_AUDIO_SECONDS} s of audio under its frames")
        return {"clips": clips, "dropped": dropped, "problems": list(problems)}


def _enumerate_until(frames: Iterable[np.ndarray], first: int, last: int) -> Iterator[tuple[int, np.ndarray]]:
    for number, frame in enumerate(frames, start=first):
        if number >= last:
            return
        yield number, frame


def _ignore_problem(problem: str) -> None:
    """Ignore a problem that an earlier stage has recorded."""


def _round_score(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def _round_pixels(values: np.ndarray) -> list[float] | None:
    return None if np.isnan(values).any() else [round(float(value), 1) for value in values]


def _round_points(points: np.ndarray) -> list[list[float] | None] | None:
    return None if np.isnan(points).any() else [_round_pixels(point) for point in points]


def clips_of(record: Record | None) -> set[str]:
    """Return the clips of a record of this stage."""
    return {clip["clip"] for clip in record.data.get("clips", ())} if record is not None else set()


def remove_clips(root: Path, clips: Iterable[str]) -> None:
    """Remove clips that no plan contains any more."""
    for clip in clips:
        shutil.rmtree(root / clip, ignore_errors=True)
