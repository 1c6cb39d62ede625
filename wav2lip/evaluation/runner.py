"""Measure every sample of every system in one or more processes, skipping cached results."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from wav2lip.cli import configure_logging
from wav2lip.errors import USER_ERRORS
from wav2lip.evaluation.cache import CachedResult, ResultCache
from wav2lip.evaluation.evaluate_sample import evaluate_sample
from wav2lip.evaluation.samples import EvalSample, System
from wav2lip.evaluation.scorers import Scorers
from wav2lip.evaluation.settings import EvalSettings

TORCH_THREADS = 1  # per process: more threads would add floats in another order

Progress = Callable[[int, int], object]  # clips done, clips in all


@dataclass(frozen=True)
class Task:
    """One video to be measured."""

    system: str
    sample: EvalSample
    fingerprint: str


class Worker:
    """Evaluator of samples in one process."""

    def __init__(self, settings: EvalSettings, out: Path):
        torch.set_num_threads(TORCH_THREADS)
        self.scorers, self.cache, self.boxes = Scorers.from_settings(settings), ResultCache(out), out / "faces"

    def __call__(self, task: Task) -> CachedResult:
        """Measure and cache one sample; a user error becomes its result, and the run continues."""
        try:
            scores = evaluate_sample(task.sample, self.scorers, self.boxes)
        except USER_ERRORS as error:
            return self.cache.write(task.system, task.sample.clip, task.fingerprint, str(error))
        return self.cache.write(task.system, task.sample.clip, task.fingerprint, scores)


_worker: list[Worker] = []  # the worker of this process


def _start_worker(settings: EvalSettings, out: Path) -> None:
    configure_logging()
    _worker.append(Worker(settings, out))


def _run_task(task: Task) -> CachedResult:
    return _worker[0](task)


def run(
    systems: Sequence[System], settings: EvalSettings, out: Path, workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> dict[str, list[CachedResult]]:  # fmt: skip
    """Return the results of each system, in the order of its samples.

    Raises: InputError if a file of the settings cannot be used; the error of an unusable clip is in its result.
    """
    cache = ResultCache(out)
    results: dict[tuple[str, str], CachedResult] = {}
    tasks = []
    for system in systems:
        for sample in system.samples:
            fingerprint = settings.fingerprint(sample)
            cached = cache.read(system.name, sample.clip, fingerprint)
            if cached is None:
                tasks.append(Task(system.name, sample, fingerprint))
            else:
                results[system.name, sample.clip] = cached
    total = len(results) + len(tasks)
    progress(len(results), total)
    with _measure(settings, out, min(workers, len(tasks)), tasks) as measured:
        for result in measured:
            results[result.system, result.clip] = result
            progress(len(results), total)
    return {system.name: [results[system.name, sample.clip] for sample in system.samples] for system in systems}


@contextmanager
def _measure(
    settings: EvalSettings, out: Path, workers: int, tasks: Sequence[Task]
) -> Iterator[Iterator[CachedResult]]:
    if workers <= 1:
        threads = torch.get_num_threads()
        try:
            yield map(Worker(settings, out), tasks) if tasks else iter(())
        finally:
            torch.set_num_threads(threads)
        return
    Scorers.from_settings(settings)  # fails here: a pool would restart failing processes endlessly
    pool = multiprocessing.get_context("spawn").Pool(workers, _start_worker, (settings, out))
    with pool:
        yield pool.imap_unordered(_run_task, tasks)
