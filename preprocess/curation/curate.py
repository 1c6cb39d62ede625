"""Select the clips to train on: measure quality, drop duplicates, check sync, assign splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preprocess.curation.clip_inputs import inspect_clips
from preprocess.curation.duplicates import group_duplicates, select_redundant
from preprocess.curation.outcomes import Rejection
from preprocess.curation.quality import Limits, Quality, check_limits
from preprocess.curation.splits import SplitAssignment, SplitSettings
from preprocess.stages import quality as quality_stage
from preprocess.stages import sync as sync_stage
from preprocess.stages.splits import run_splits
from preprocess.sync.decide import SyncSettings, select_speakers
from wav2lip.audio.windows import FPS
from wav2lip.execution.manifest import OK, Record
from wav2lip.execution.stage_runner import StageRunner


@dataclass(frozen=True)
class CurationSettings:
    """Selection of clips."""

    sync: SyncSettings | None = field(default_factory=SyncSettings)  # None: not measured
    only_speakers: bool = False  # keep only the speaking one of simultaneous faces
    limits: Limits = field(default_factory=Limits)
    splits: SplitSettings = field(default_factory=SplitSettings)


@dataclass(frozen=True)
class Curation:
    """Result of the clip stages."""

    clips: Sequence[str]
    sync: Mapping[str, Record]  # empty if not measured
    sync_summary: dict[str, Any] | None
    qualities: Mapping[str, Record]  # data: see `Quality`
    rejections: Mapping[str, Rejection]  # clips in no file list
    assignment: SplitAssignment


def curate(root: Path, clips: Sequence[str], settings: CurationSettings, runner: StageRunner) -> Curation:
    """Run the clip stages quality, sync and splits over the clips of a data root.

    Raises: InputError if clips are left for a stage that may not run.
    """
    first_stage = quality_stage.STAGE if settings.sync is None else sync_stage.STAGE
    inputs, unreadable = inspect_clips(root, clips, runner.executor, first_stage)
    qualities = quality_stage.run_quality(root, inputs, runner)
    measured = {clip: Quality(**record.data) for clip, record in qualities.items() if record.status == OK}
    face_pixels = {clip: quality.face_pixels for clip, quality in measured.items()}
    duplicates = quality_stage.find_duplicate_clips(inputs, qualities)
    groups = group_duplicates(duplicates)

    sync: dict[str, Record] = {}
    summary: dict[str, Any] | None = None
    if settings.sync is not None and clips:
        sync, summary = sync_stage.run_sync(root, inputs, settings.sync, runner, duplicates=groups)
        if settings.only_speakers:
            origins = {clip: clip_input.origin for clip, clip_input in inputs.items()}
            sync = select_speakers(sync, origins, face_pixels, summary["agreement_found"])

    rejections = {clip: Rejection.from_record(record) for clip, record in unreadable.items()}
    rejections |= {clip: Rejection.from_record(record) for clip, record in sync.items() if record.status != OK}
    for clip, record in qualities.items():
        fault = record.cause, record.reason
        violated = check_limits(measured[clip], settings.limits) if record.status == OK else fault
        if violated is not None:
            rejections.setdefault(clip, Rejection(quality_stage.STAGE, *violated))

    seconds = {clip: clip_input.origin.frames / FPS for clip, clip_input in inputs.items()}
    remaining = [pair for pair in duplicates if pair.first not in rejections and pair.second not in rejections]
    for clip, better in select_redundant(remaining, face_pixels, seconds).items():
        reason = f"shows the same recording as {better}, which is kept"
        rejections[clip] = Rejection(quality_stage.STAGE, "duplicate", reason)

    kept_seconds = {clip: seconds[clip] for clip in clips if clip not in rejections}
    assignment = run_splits(root, kept_seconds, settings.splits, groups)
    rejections |= {clip: Rejection("splits", ex.cause, ex.reason) for clip, ex in assignment.excluded.items()}
    return Curation(clips, sync, summary, qualities, rejections, assignment)
