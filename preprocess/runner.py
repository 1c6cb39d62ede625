"""One stage over all its units: what is known stands, the rest is done, remembered and shown as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tqdm import tqdm

from preprocess.manifest import FAILED, OK, REJECTED, Manifest, Record
from preprocess.workers import Crash, Crew, Progress, Tools
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

BAR = "{desc:9} {bar}| {n:.1f} of {total} [{elapsed}, {remaining} left]"


class StageWork(Protocol):
    """What a stage does to a unit."""

    def fingerprint(self, unit: Any, /) -> str: ...
    def __call__(self, unit: Any, /, tools: Tools, progress: Progress) -> Record: ...


@dataclass(frozen=True)
class Runner:
    """Runs stages against the manifest of a data set."""

    manifest: Manifest
    crew: Crew
    stages: Sequence[str]  # those that may work; of others only what is known is used
    overwrite: bool = False  # do everything again
    retry: bool = False  # do again what was rejected

    def run(
        self,
        stage: str,
        work: StageWork,
        units: Mapping[str, Any],
        *,
        stands: Callable[[Record], bool] = lambda record: True,
        before_adding: Callable[[Record], object] = lambda record: None,
    ) -> dict[str, Record]:
        """Records of all units, by key, in their order; crashes are records too, but are not remembered.

        units: by key; the largest first. stands: whether what a record that is OK tells of is still there.
        before_adding: called with each new record before it is remembered.
        Raises: InputError if something is left to do by a stage that may not work.
        """
        known = {} if self.overwrite and stage in self.stages else self._known(stage, work, units, stands)
        todo = {key: unit for key, unit in units.items() if key not in known}
        if todo and stage not in self.stages:
            raise InputError(
                f"{self.manifest.root}: {len(todo)} inputs lack what the stage {stage} finds out, or changed since; "
                f"add {stage} to stages="
            )
        for record in self._do(stage, work, todo):
            before_adding(record)
            if record.fate != FAILED:
                self.manifest.add(record)
            known[record.key] = record
        return {key: known[key] for key in units}

    def _known(
        self, stage: str, work: StageWork, units: Mapping[str, Any], stands: Callable[[Record], bool]
    ) -> dict[str, Record]:
        found = {key: self.manifest.find(stage, key, work.fingerprint(unit)) for key, unit in units.items()}
        return {
            key: record
            for key, record in found.items()
            if record is not None
            and ((record.fate == OK and stands(record)) or (record.fate == REJECTED and not self.retry))
        }

    def _do(self, stage: str, work: StageWork, todo: Mapping[str, Any]) -> Iterator[Record]:
        if not todo:
            return
        keys = {id(unit): key for key, unit in todo.items()}
        done = 0
        with tqdm(total=len(todo), desc=stage, disable=None, bar_format=BAR) as bar:

            def show(at_work: float) -> None:
                bar.n = round(done + at_work, 2)
                bar.refresh()

            for unit, result in self.crew.do(work, list(todo.values()), show):
                if isinstance(result, Crash):
                    key = keys[id(unit)]
                    log.error("%s: %s", key, result.reason)
                    result = Record(stage, key, work.fingerprint(unit), FAILED, result.cause, result.reason)
                done += 1
                show(0)
                yield result
