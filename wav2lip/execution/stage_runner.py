"""Run one stage over all its inputs, skipping those with an up-to-date record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tqdm import tqdm

from wav2lip.errors import InputError
from wav2lip.execution.interface import Crash, Executor, Progress, WorkerContext
from wav2lip.execution.manifest import FAILED, OK, REJECTED, Manifest, Record
from wav2lip.execution.usage import MeasuredWork, crash_usage

log = logging.getLogger(__name__)

BAR_FORMAT = "{desc:9} {bar}| {n:.1f} of {total} [{elapsed}, {remaining} left]"


class StageWork(Protocol):
    """A map stage: a function from one input to its record."""

    def fingerprint(self, stage_input: Any, /) -> str: ...
    def __call__(self, stage_input: Any, /, context: WorkerContext, progress: Progress) -> Record: ...


@dataclass(frozen=True)
class StageRunner:
    """Run map stages on an executor and keep their records in the manifest; the only writer of a run."""

    manifest: Manifest
    executor: Executor
    stages: Sequence[str]  # stages that may run; of the others only existing records are used
    overwrite: bool = False  # run the enabled stages again for all inputs
    retry: bool = False  # run them again for rejected inputs
    crashes: Mapping[tuple[str, str], Record] = field(default_factory=dict)  # crashes of other runs, by stage and key
    keep_crashes: bool = False  # save the crashes too, and run them again with `retry` only

    def run(
        self,
        stage: str,
        work: StageWork,
        inputs: Mapping[str, Any],
        *,
        output_exists: Callable[[Record], bool] = lambda record: True,
        before_adding: Callable[[Record], object] = lambda record: None,
    ) -> dict[str, Record]:
        """Return the records of all inputs by key, in their order, crashes included.

        inputs: by key, the largest first. output_exists: returns whether the files of an OK record are still there.
        before_adding: called with each new record before it is saved.
        Raises: InputError if inputs are left for a stage that may not run.
        """
        repeats = self.overwrite and stage in self.stages
        cached = {} if repeats else self.find_current(stage, work, inputs, output_exists)
        remaining = {key: stage_input for key, stage_input in inputs.items() if key not in cached}
        if stage not in self.stages:
            crashed = {key: self.crashes[stage, key] for key in remaining if (stage, key) in self.crashes}
            cached |= crashed
            remaining = {key: stage_input for key, stage_input in remaining.items() if key not in crashed}
        if remaining and stage not in self.stages:
            raise InputError(
                f"{self.manifest.root}: {len(remaining)} inputs have no up-to-date record of the stage {stage}; "
                f"add {stage} to stages="
            )
        records = dict(cached)
        for record in self._map(stage, work, remaining):
            before_adding(record)
            if record.status != FAILED or self.keep_crashes:
                self.manifest.add(record)
            records[record.key] = record
        return {key: records[key] for key in inputs}

    def find_current(
        self, stage: str, work: StageWork, inputs: Mapping[str, Any], output_exists: Callable[[Record], bool]
    ) -> dict[str, Record]:
        """Return the records that are up to date, by key."""
        candidates = {
            key: self.manifest.find(stage, key, work.fingerprint(stage_input)) for key, stage_input in inputs.items()
        }
        done = {REJECTED, FAILED} if self.keep_crashes else {REJECTED}
        return {
            key: replace(record, cached=True)
            for key, record in candidates.items()
            if record is not None
            and ((record.status == OK and output_exists(record)) or (record.status in done and not self.retry))
        }

    def _map(self, stage: str, work: StageWork, inputs: Mapping[str, Any]) -> Iterator[Record]:
        if not inputs:
            return
        keys = {id(stage_input): key for key, stage_input in inputs.items()}
        completed = 0
        with tqdm(total=len(inputs), desc=stage, disable=None, bar_format=BAR_FORMAT) as bar:

            def update_bar(in_progress: float) -> None:
                bar.n = round(completed + in_progress, 2)
                bar.refresh()

            for stage_input, result in self.executor.map(MeasuredWork(work), list(inputs.values()), update_bar):
                completed += 1
                update_bar(0)
                if isinstance(result, Crash):
                    key = keys[id(stage_input)]
                    log.error("%s: %s", key, result.reason)
                    usage = crash_usage(result.seconds, result.attempts, self.executor.grant)
                    record = Record(stage, key, work.fingerprint(stage_input), FAILED, result.cause, result.reason)
                else:
                    record, usage = result.result, result.usage
                yield replace(record, usage=usage.to_json())
