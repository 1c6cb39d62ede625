"""Stage 7: measure the audio-video offset of each clip, decide which clips are in sync, and correct offsets.

A reduce stage: whether one clip's offset can be trusted depends on all clips, and without a checkpoint the expert is
bootstrapped from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from preprocess.curation.clip_inputs import ClipInput, map_with_bar
from preprocess.curation.clip_origin import ClipOrigin, link_recordings
from preprocess.sync.bootstrap import MIN_CLIPS, bootstrap, sample_evenly, sample_minutes
from preprocess.sync.decide import SyncSettings, decide, summarize
from preprocess.sync.measure import (
    STAGE,
    CCAExpertFactory,
    CheckpointExpertFactory,
    CorrectOffset,
    ExtractFeatures,
    MeasureOffset,
    offset_record,
    save_cca_expert,
    unreadable_record,
)
from wav2lip.errors import InputError
from wav2lip.execution.interface import Crash
from wav2lip.execution.manifest import FAILED, OK, Record, hash_values
from wav2lip.execution.stage_runner import StageRunner
from wav2lip.execution.usage import MeasuredWork
from wav2lip.sync.cca_expert import ClipFeatures

__all__ = ["STAGE", "run_sync"]
ROUNDS_STAGE = "sync_rounds"  # manifest stage of the bootstrap's history

ExpertFactory = CheckpointExpertFactory | CCAExpertFactory


def run_sync(
    root: Path,
    inputs: Mapping[str, ClipInput],
    settings: SyncSettings,
    runner: StageRunner,
    duplicates: Sequence[Sequence[str]] = (),
) -> tuple[dict[str, Record], dict[str, Any]]:
    """Decide which clips of a data set are in sync, and correct confident offsets on disk.

    Up-to-date measurements are reused, and no audio is shifted twice. Where the stage may not run, existing records
    are used and no audio is shifted.
    duplicates: clips by recording (`duplicates.group_duplicates`); a clip is never scored by an expert that was fitted
        on another clip of its recording, nor compared with one.
    Returns: a record per clip, REJECTED where it must not be trained on, and the summary for dataset.json. Data: offset
        (frames by which the audio lagged the lips before any correction), confidence, confident, applied (frames
        corrected), curve, windows.
    Raises: InputError if clips are left and the stage may not run; OSError if a clip cannot be written.
    """
    expert_key = _expert_key(inputs, settings, duplicates)
    measurement = _Measurement(root, runner, settings, _add_fingerprints(inputs, expert_key, duplicates), expert_key)
    may_run = STAGE in runner.stages
    if may_run:
        measurement.run()
    elif missing := len(inputs) - len(measurement.cached_records()):
        raise InputError(
            f"{root}: {missing} clips have no up-to-date record of the stage {STAGE}; add {STAGE} to stages="
        )
    settings = replace(settings, correct=settings.correct and may_run)
    cached = {clip: _refresh_applied(record, inputs[clip]) for clip, record in measurement.cached_records().items()}
    rounds = runner.manifest.find(ROUNDS_STAGE, "all", expert_key)
    summary = summarize(cached.values(), settings, rounds.data["rounds"] if rounds else [])
    records = {clip: decide(record, settings, summary["agreement_found"]) for clip, record in cached.items()}
    if settings.correct:
        records |= _correct_offsets(root, records, runner)
    records |= measurement.crashed
    return {clip: records[clip] for clip in inputs}, summary


def _expert_key(inputs: Mapping[str, ClipInput], settings: SyncSettings, duplicates: Sequence[Sequence[str]]) -> str:
    """Return a hash of what the expert depends on: all clips, unless it is a checkpoint."""
    if settings.expert is not None:
        return hash_values(settings.cache_key())
    clips = sorted((clip, clip_input.state.origin) for clip, clip_input in inputs.items())
    return hash_values(settings.cache_key(), clips, sorted(sorted(group) for group in duplicates))


def _add_fingerprints(
    inputs: Mapping[str, ClipInput], expert_key: str, duplicates: Sequence[Sequence[str]]
) -> dict[str, ClipInput]:
    """Return the inputs sorted by name, with their fingerprint and their duplicates linked."""
    ordered = dict(sorted(inputs.items()))
    origins = link_recordings((clip_input.origin for clip_input in ordered.values()), duplicates)
    return {
        origin.clip: replace(
            clip_input, origin=origin, fingerprint=hash_values(expert_key, origin.clip, clip_input.state.origin)
        )
        for origin, clip_input in zip(origins, ordered.values(), strict=True)
    }


def _refresh_applied(record: Record, clip_input: ClipInput) -> Record:
    """Replace the correction at the time of the measurement by the one that the clip has now."""
    if record.status != OK:
        return record
    return replace(record, data={**record.data, "applied": clip_input.state.applied})


def _correct_offsets(root: Path, records: Mapping[str, Record], runner: StageRunner) -> dict[str, Record]:
    """Shift the audio of the clips with a confident offset; returns records of those that crashed."""
    confident = [record for record in records.values() if record.status == OK and record.data["confident"]]
    crashed = {}
    for record, result in map_with_bar(runner.executor, CorrectOffset(root), confident, "correct"):
        if isinstance(result, Crash):
            crashed[record.key] = replace(record, status=FAILED, cause=result.cause, reason=result.reason)
    return crashed


@dataclass
class _Measurement:
    """Measure the offsets of clips and keep them in the manifest."""

    root: Path
    runner: StageRunner
    settings: SyncSettings
    inputs: dict[str, ClipInput]
    expert_key: str
    crashed: dict[str, Record] = field(default_factory=dict)

    def cached_records(self) -> dict[str, Record]:
        """Return the up-to-date records by clip."""
        manifest = self.runner.manifest
        records = {clip: manifest.find(STAGE, clip, clip_input.fingerprint) for clip, clip_input in self.inputs.items()}
        return {clip: record for clip, record in records.items() if record is not None}

    def run(self) -> None:
        """Measure all clips without an up-to-date record, or all clips with overwrite."""
        cached = self.cached_records()
        if self.runner.overwrite:
            for clip in cached:
                self.runner.manifest.add(Record(STAGE, clip, ""))
            cached = {}
        remaining = {clip: clip_input for clip, clip_input in self.inputs.items() if clip not in cached}
        if not remaining:
            return
        experts: tuple[ExpertFactory, ...]
        if self.settings.expert is not None:
            origins = [clip_input.origin for clip_input in self.inputs.values()]
            negatives = tuple(sample_evenly(origins, self.settings.num_negatives))
            experts = (CheckpointExpertFactory(self.settings.expert, self.settings.device),)
        else:
            experts, negatives, remaining = self._bootstrap(remaining)
        work = MeasureOffset(self.root, experts, negatives, self.settings.max_offset_frames)
        for clip_input, result in map_with_bar(
            self.runner.executor, MeasuredWork(work), list(remaining.values()), STAGE
        ):
            if isinstance(result, Crash):
                self._add_crash(clip_input, result)
            else:
                self.runner.manifest.add(replace(result.result, usage=result.usage.to_json()))

    def _add_crash(self, clip_input: ClipInput, crash: Crash) -> None:
        record = Record(STAGE, clip_input.clip, clip_input.fingerprint, FAILED, crash.cause, crash.reason)
        self.crashed[clip_input.clip] = record

    def _bootstrap(
        self, remaining: dict[str, ClipInput]
    ) -> tuple[tuple[CCAExpertFactory, ...], tuple[ClipOrigin, ...], dict[str, ClipInput]]:
        """Fit experts to a sample of the clips; returns them, the negatives, and the clips left to measure."""
        settings, manifest = self.settings, self.runner.manifest
        origins = [clip_input.origin for clip_input in self.inputs.values()]
        features = self._extract_features(sample_minutes(origins, settings.bootstrap_minutes))
        sampled = [self.inputs[clip].origin for clip in features]
        if len(features) < MIN_CLIPS:
            for clip_input in self._without_record(remaining).values():
                manifest.add(offset_record(clip_input, None))
            return (), (), {}
        result = bootstrap(
            features,
            sampled,
            min_confidence=settings.min_confidence,
            max_offset=settings.max_offset_frames,
            num_folds=settings.folds,
            num_negatives=settings.num_negatives,
        )
        folder = manifest.folder / STAGE
        for outdated in folder.glob("expert_*.npz"):
            outdated.unlink()
        experts = []
        for fold, expert in enumerate(result.experts):
            path = folder / f"expert_{self.expert_key}_{fold}.npz"
            save_cca_expert(expert, path)
            experts.append(CCAExpertFactory(str(path)))
        manifest.add(Record(ROUNDS_STAGE, "all", self.expert_key, data={"rounds": result.rounds}))
        for clip, clip_input in remaining.items():
            if clip in result.estimates:
                manifest.add(offset_record(clip_input, result.estimates[clip]))
        rest = _assign_nearest_folds(self._without_record(remaining), sampled, result.folds)
        return tuple(experts), tuple(sample_evenly(sampled, settings.num_negatives)), rest

    def _without_record(self, inputs: dict[str, ClipInput]) -> dict[str, ClipInput]:
        """Return the inputs that have no record yet and did not crash."""
        cached = self.cached_records()
        return {clip: value for clip, value in inputs.items() if clip not in cached and clip not in self.crashed}

    def _extract_features(self, sample: Sequence[ClipOrigin]) -> dict[str, ClipFeatures]:
        """Return the features of the readable clips of a sample, by clip in name order."""
        features: dict[str, ClipFeatures] = {}
        inputs = [self.inputs[origin.clip] for origin in sample]
        for clip_input, result in map_with_bar(self.runner.executor, ExtractFeatures(self.root), inputs, "features"):
            if isinstance(result, Crash):
                self._add_crash(clip_input, result)
            elif isinstance(result, str):
                self.runner.manifest.add(unreadable_record(clip_input, result))
            else:
                features[clip_input.clip] = result
        return {clip: features[clip] for clip in sorted(features)}


def _assign_nearest_folds(
    inputs: Mapping[str, ClipInput], sampled: Sequence[ClipOrigin], folds: Mapping[str, int]
) -> dict[str, ClipInput]:
    """Give each clip the fold of the nearest sampled clip, a duplicate first: its expert was not fitted on either."""
    fold_by_recording = {origin.recording: folds[origin.clip] for origin in sampled if origin.recording}
    folds_by_source: dict[str, list[tuple[int, int]]] = defaultdict(list)  # (first frame, fold)
    for origin in sampled:
        folds_by_source[origin.source].append((origin.first, folds[origin.clip]))

    def nearest_fold(origin: ClipOrigin) -> int:
        if origin.recording in fold_by_recording:
            return fold_by_recording[origin.recording]
        candidates = folds_by_source.get(origin.source)
        return min(candidates, key=lambda candidate: abs(candidate[0] - origin.first))[1] if candidates else 0

    return {clip: replace(clip_input, fold=nearest_fold(clip_input.origin)) for clip, clip_input in inputs.items()}
