"""Run a batch: skip finished jobs, render the others at once or in segments, and keep a record of each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wav2lip.batch.engines import RESULTS, Factory, LipSyncFactory
from wav2lip.batch.jobs import Job, add_digests
from wav2lip.batch.work import (
    PLANS,
    SEGMENTS,
    JoinResult,
    PlanResult,
    RenderResult,
    RenderSegment,
    Segment,
    SegmentedJob,
    reject,
)
from wav2lip.engines import WAV2LIP
from wav2lip.errors import file_error
from wav2lip.execution.build import ExecutorSettings, build_executor
from wav2lip.execution.manifest import OK, Manifest, Record
from wav2lip.execution.shard import Shard
from wav2lip.execution.stage_runner import StageRunner

STAGES = (PLANS, SEGMENTS, RESULTS)
PARTS = "parts"  # folder of plans and segments, beside the records; empty after a run without failures


@dataclass(frozen=True)
class BatchSettings:
    """How a batch runs."""

    out: Path
    engines: Mapping[str, Factory]  # by name; of all jobs
    executor: ExecutorSettings
    segment_seconds: float | None = None  # None: no result is divided
    retry_failed: bool = False
    shard: Shard | None = None

    @property
    def records(self) -> Path:
        """Folder of the records; each shard has its own, so that several machines can share `out`."""
        suffix = "" if self.shard is None else f"-{self.shard.number}-of-{self.shard.count}"
        return self.out / f"records{suffix}"


def run(jobs: Sequence[Job], settings: BatchSettings) -> list[Record]:
    """Return the record of each job of the shard, in their order; those of earlier runs are marked as cached.

    jobs: without digests, of all shards. Raises: InputError if the output folder cannot be written or is in use.
    """
    if settings.shard is not None:
        jobs = [job for job in jobs if settings.shard.contains(job.key)]
    try:
        settings.records.mkdir(parents=True, exist_ok=True)
        with (
            Manifest(settings.records, settings.records) as manifest,
            build_executor(settings.executor) as executor,
        ):  # fmt: skip
            runner = StageRunner(manifest, executor, STAGES, retry=settings.retry_failed, keep_crashes=True)
            return _run_jobs(add_digests(jobs), settings, runner)
    except OSError as error:
        raise file_error(error, settings.out) from error


def _run_jobs(jobs: Sequence[Job], settings: BatchSettings, runner: StageRunner) -> list[Record]:
    records = {job.key: reject(job, RESULTS, "", job.fault) for job in jobs if job.fault}
    for key, record in records.items():
        if runner.manifest.records(RESULTS).get(key) != record:
            runner.manifest.add(record)
    possible = {job.key: job for job in jobs if not job.fault}
    whole = RenderResult(settings.engines)
    records |= runner.find_current(RESULTS, whole, possible, partial(_has_result, possible))
    remaining = {key: job for key, job in possible.items() if key not in records}
    model = settings.engines.get(WAV2LIP)
    if settings.segment_seconds is not None and isinstance(model, LipSyncFactory):
        divisible = {key: job for key, job in remaining.items() if job.engine == WAV2LIP}
        work = PlanResult(model, settings.records / PARTS, settings.segment_seconds)
        records |= _render_in_segments(divisible, work, runner)
        remaining = {key: job for key, job in remaining.items() if key not in records}
    records |= runner.run(RESULTS, whole, remaining, output_exists=partial(_has_result, remaining))
    return [records[job.key] for job in jobs]


def _has_result(jobs: Mapping[str, Job], record: Record) -> bool:
    path = jobs[record.key].outfile
    return path.is_file() and path.stat().st_size == record.data["bytes"]


def _render_in_segments(jobs: Mapping[str, Job], work: PlanResult, runner: StageRunner) -> dict[str, Record]:
    """Return the records of the jobs that are long enough for segments, and of those that cannot be planned."""

    def has_plan(record: Record) -> bool:
        return record.data["segments"] == 1 or work.path(jobs[record.key]).exists()

    plans = runner.run(PLANS, work, jobs, output_exists=has_plan)
    records = {key: _as_result(jobs[key], plan, runner) for key, plan in plans.items() if plan.status != OK}
    divided = {
        key: SegmentedJob(
            jobs[key],
            tuple(Segment(jobs[key], n, work.path(jobs[key]), plan.fingerprint) for n in range(plan.data["segments"])),
        )
        for key, plan in plans.items()
        if plan.status == OK and plan.data["segments"] > 1
    }
    segments = {f"{key}#{segment.number}": segment for key, job in divided.items() for segment in job.segments}
    rendered = runner.run(
        SEGMENTS,
        RenderSegment(work.model),
        segments,
        output_exists=lambda record: segments[record.key].path.exists(),
    )
    complete = {}
    for key, job in divided.items():
        faults = [r for s in job.segments if (r := rendered[f"{key}#{s.number}"]).status != OK]
        if faults:
            records[key] = _as_result(jobs[key], faults[0], runner)
        else:
            complete[key] = job
    joined = runner.run(RESULTS, JoinResult(work.model), complete)
    for key, record in joined.items():
        if record.status == OK:
            shutil.rmtree(divided[key].segments[0].path.parent, ignore_errors=True)
            divided[key].segments[0].plan.unlink(missing_ok=True)
    return records | joined


def _as_result(job: Job, record: Record, runner: StageRunner) -> Record:
    """Return the record of a job whose plan or segment failed, and save it."""
    result = replace(record, stage=RESULTS, key=job.key, usage={}, data=job.describe())
    if runner.manifest.records(RESULTS).get(job.key) != result:
        runner.manifest.add(result)
    return result
