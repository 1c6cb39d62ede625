"""Work of a batch, as it runs in the workers: whole results; plans, segments and joins of long ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from wav2lip.batch.engines import RESULTS, Engine, Factory, LipSyncFactory
from wav2lip.batch.jobs import Job
from wav2lip.engine.prepared import is_prepared
from wav2lip.errors import USER_ERRORS
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import REJECTED, Record, hash_values
from wav2lip.lipsync import LipSyncOptions
from wav2lip.lipsync.segments import join_segments, load_plan, plan_segments, render_segment, save_plan, segment_suffix
from wav2lip.media import probe

PLANS, SEGMENTS = "plans", "segments"  # stages


@dataclass(frozen=True)
class RenderResult:
    """Write a result at once."""

    engines: Mapping[str, Factory]  # by name; of all jobs

    def fingerprint(self, job: Job) -> str:
        """Hash of the contents and options."""
        return self.engines[job.engine].fingerprint(job)

    def __call__(self, job: Job, context: WorkerContext, progress: Progress) -> Record:
        """Return frames, fps, bytes (of the file) and has_cached_faces, beside `Job.describe`."""
        engine = cast(Engine, context.get(self.engines[job.engine]))
        try:
            audio = job.audio if isinstance(job.audio, Path) else list(job.audio) or None
            result = engine(
                job.face, audio, job.outfile, job.options, lambda stage, done, total: progress(done / max(1, total))
            )
        except USER_ERRORS as error:
            return reject(job, RESULTS, self.fingerprint(job), str(error))
        return finished(job, self.fingerprint(job), result.frames, float(result.fps), result.has_cached_faces)


@dataclass(frozen=True)
class PlanResult:
    """Plan the segments of a long result."""

    model: LipSyncFactory
    folder: Path  # folder of the plans
    seconds: float  # length of a segment
    is_always_divided: bool = False  # also into one segment

    def fingerprint(self, job: Job) -> str:
        """Hash of the contents, options and length of a segment."""
        return hash_values(PLANS, self.model.fingerprint(job), self.seconds)

    def path(self, job: Job) -> Path:
        """Return the file of a plan."""
        return self.folder / f"{self.fingerprint(job)}.npz"

    def __call__(self, job: Job, context: WorkerContext, progress: Progress) -> Record:
        """Return the number of segments; 1 for a result that is rendered at once.

        These are results of less than two segments, and those of prepared faces, which need no search for faces.
        """
        fingerprint, lipsync = self.fingerprint(job), context.get(self.model)
        try:
            options, seconds = _options(job), max(probe(audio).seconds for audio in job.audios)
            is_short = seconds < 2 * self.seconds and options.short == "trim"
            if (is_short or is_prepared(job.face)) and not self.is_always_divided:
                return Record(PLANS, job.key, fingerprint, data={**job.describe(), "segments": 1})
            plan = plan_segments(lipsync, job.face, list(job.audios), options, self.seconds)
        except USER_ERRORS as error:
            return reject(job, PLANS, fingerprint, str(error))
        save_plan(plan, self.path(job))
        return Record(PLANS, job.key, fingerprint, data={**job.describe(), "segments": plan.count})


@dataclass(frozen=True)
class Segment:
    """One segment of a result."""

    job: Job
    number: int
    plan: Path
    fingerprint: str  # fingerprint of the plan

    @property
    def path(self) -> Path:
        """File of the segment, without audio."""
        return self.plan.with_suffix("") / f"{self.number:05d}{segment_suffix(self.job.outfile)}"


@dataclass(frozen=True)
class RenderSegment:
    """Write the frames of a segment."""

    model: LipSyncFactory

    def fingerprint(self, segment: Segment) -> str:
        """Hash of the plan and the number."""
        return hash_values(SEGMENTS, segment.fingerprint, segment.number)

    def __call__(self, segment: Segment, context: WorkerContext, progress: Progress) -> Record:
        """Return the number of frames."""
        job, lipsync = segment.job, context.get(self.model)
        key, fingerprint = f"{job.key}#{segment.number}", self.fingerprint(segment)
        try:
            frames = render_segment(
                lipsync, load_plan(segment.plan), segment.number, job.face, list(job.audios), segment.path,
                _options(job), lambda stage, done, total: progress(done / total),
            )  # fmt: skip
        except USER_ERRORS as error:
            return Record(SEGMENTS, key, fingerprint, REJECTED, "bad input", str(error), job.describe())
        return Record(SEGMENTS, key, fingerprint, data={**job.describe(), "frames": frames})


@dataclass(frozen=True)
class SegmentedJob:
    """A result whose segments are finished."""

    job: Job
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class JoinResult:
    """Write the segments and the audio to the result."""

    model: LipSyncFactory

    def fingerprint(self, segmented: SegmentedJob) -> str:
        """Hash of the contents and options: the result equals that of `RenderResult`."""
        return self.model.fingerprint(segmented.job)

    def __call__(self, segmented: SegmentedJob, context: WorkerContext, progress: Progress) -> Record:
        """Return the same data as `RenderResult`."""
        job = segmented.job
        parts = [segment.path for segment in segmented.segments]
        try:
            frames = load_plan(segmented.segments[0].plan).frames
            fps = probe(parts[0]).require_video().fps
            digest = self.model.checkpoint_digest
            join_segments(parts, list(job.audios), job.outfile, _options(job), frames, fps, digest)
        except USER_ERRORS as error:
            return reject(job, RESULTS, self.fingerprint(segmented), str(error))
        return finished(job, self.fingerprint(segmented), frames, float(fps), False)


def finished(job: Job, fingerprint: str, frames: int, fps: float, has_cached_faces: bool) -> Record:
    """Return the record of a written result."""
    data: dict[str, Any] = {
        **job.describe(),
        "frames": frames,
        "fps": round(fps, 3),
        "bytes": job.outfile.stat().st_size,
        "has_cached_faces": has_cached_faces,
    }
    return Record(RESULTS, job.key, fingerprint, data=data)


def reject(job: Job, stage: str, fingerprint: str, reason: str) -> Record:
    """Return the record of a job that cannot be done."""
    return Record(stage, job.key, fingerprint, REJECTED, "bad input", reason, job.describe())


def _options(job: Job) -> LipSyncOptions:
    assert isinstance(job.options, LipSyncOptions)  # only these results are divided
    return job.options
