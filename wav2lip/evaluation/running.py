"""Every take of every system measured, by as many processes as asked for; what was measured already is not again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from wav2lip.errors import USER_ERRORS, log_to_terminal
from wav2lip.evaluation.judges import Judges
from wav2lip.evaluation.measure import measure
from wav2lip.evaluation.records import Record, Records
from wav2lip.evaluation.settings import Settings
from wav2lip.evaluation.takes import System, Take

THREADS = 1  # of torch in each process, however many there are: with others floats are added in another order


@dataclass(frozen=True)
class Job:
    """One video to be measured."""

    system: str
    take: Take
    fingerprint: str


class Worker:
    """Measures takes in a process of its own, or in this one."""

    def __init__(self, settings: Settings, out: Path):
        torch.set_num_threads(THREADS)
        self.judges, self.records, self.boxes = Judges.of(settings), Records(out), out / "faces"

    def __call__(self, job: Job) -> Record:
        """The record of a job, written already."""
        try:
            found = measure(job.take, self.judges, self.boxes)
        except USER_ERRORS as error:  # of this clip: the others are measured all the same
            return self.records.write(job.system, job.take.clip, job.fingerprint, str(error))
        return self.records.write(job.system, job.take.clip, job.fingerprint, found)


_worker: list[Worker] = []  # that of this process


def _begin(settings: Settings, out: Path) -> None:
    log_to_terminal()
    _worker.append(Worker(settings, out))


def _work(job: Job) -> Record:
    return _worker[0](job)


def run(
    systems: Sequence[System], settings: Settings, out: Path, workers: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, list[Record]]:  # fmt: skip
    """The records of each system, in the order of its takes. progress: called with clips done and in all.

    Raises: InputError if a file of the settings cannot be used; a clip that cannot has that in its record.
    """
    records = Records(out)
    found: dict[tuple[str, str], Record] = {}
    jobs = []
    for system in systems:
        for take in system.takes:
            mark = settings.fingerprint(take)
            known = records.read(system.name, take.clip, mark)
            if known is None:
                jobs.append(Job(system.name, take, mark))
            else:
                found[system.name, take.clip] = known
    total = len(found) + len(jobs)
    progress(len(found), total)
    with _measuring(settings, out, min(workers, len(jobs)), jobs) as measured:
        for record in measured:
            found[record.system, record.clip] = record
            progress(len(found), total)
    return {system.name: [found[system.name, take.clip] for take in system.takes] for system in systems}


@contextmanager
def _measuring(settings: Settings, out: Path, workers: int, jobs: Sequence[Job]) -> Iterator[Iterator[Record]]:
    if workers <= 1:
        threads = torch.get_num_threads()
        try:
            yield map(Worker(settings, out), jobs) if jobs else iter(())
        finally:
            torch.set_num_threads(threads)
        return
    Judges.of(settings)  # a wrong file is said here: a process of the pool that fails to begin is begun again, for ever
    pool = multiprocessing.get_context("spawn").Pool(workers, _begin, (settings, out))
    with pool:
        yield pool.imap_unordered(_work, jobs)
