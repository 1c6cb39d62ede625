"""Videos spread over processes, so that one that crashes costs its own video and no other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Protocol

import cv2
import torch

from face_detection import Detector
from preprocess.cut import Job, process
from preprocess.fates import FAILED, Outcome
from preprocess.ingest import Source
from wav2lip.errors import USER_ERRORS, InputError, log_to_terminal

log = logging.getLogger(__name__)

# What a worker says: None when it is ready, a share in [0, 1] of its video, what became of it, or why it gives up.
Message = None | float | Outcome | str


class DetectorMaker(Protocol):
    """Builds the detector in the process that uses it; must be picklable."""

    def build(self, worker: int) -> Detector:
        """worker: number of the process from 0, to choose a GPU by."""
        ...


@dataclass
class Worker:
    """A process and the video it is at."""

    process: SpawnProcess
    line: Connection
    source: Source | None = None
    share: float = 0.0
    ready: bool = False


def spread(
    sources: Sequence[Source],
    job: Job,
    maker: DetectorMaker,
    workers: int,
    progress: Callable[[float], object] = lambda videos: None,
) -> Iterator[tuple[Source, Outcome]]:
    """Process videos, in as many processes; yields them as they are done.

    workers: 0 does all of it in this process.
    progress: called with how many videos' worth is done of those at work.
    Raises: InputError if a clip cannot be written or a detector not be built: nothing else would fare better.
    """
    if workers == 0:
        yield from _alone(sources, job, maker, progress)
        return
    context = multiprocessing.get_context("spawn")
    waiting = deque(sources)
    at_work = [_hire(context, number, job, maker, workers) for number in range(min(workers, len(sources)))]
    try:
        while any(worker.source or not worker.ready for worker in at_work):
            for line in wait([worker.line for worker in at_work]):
                number, worker = next((i, w) for i, w in enumerate(at_work) if w.line is line)
                try:
                    message: Message = worker.line.recv()
                except (EOFError, OSError):
                    yield _dead(worker)
                    at_work[number] = _hire(context, number, job, maker, workers)
                    continue
                if isinstance(message, str):
                    raise InputError(message)
                if isinstance(message, float):
                    worker.share = message
                    progress(sum(w.share for w in at_work))
                    continue
                if isinstance(message, Outcome):
                    assert worker.source is not None
                    yield worker.source, message
                worker.ready, worker.share = True, 0.0
                worker.source = waiting.popleft() if waiting else None
                if worker.source is not None:
                    with suppress(BrokenPipeError):  # it died just now: the next wait says so
                        worker.line.send(worker.source)
    finally:
        for worker in at_work:
            worker.process.terminate()
            worker.process.join()
            worker.line.close()


def _alone(
    sources: Sequence[Source], job: Job, maker: DetectorMaker, progress: Callable[[float], object]
) -> Iterator[tuple[Source, Outcome]]:
    try:
        detector = maker.build(0)
        for source in sources:
            yield source, process(source, job, detector, progress)
    except OSError as error:
        raise InputError(_cannot_write(job, error)) from error


def _hire(context: SpawnContext, number: int, job: Job, maker: DetectorMaker, workers: int) -> Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, number, job, maker, threads_each(workers)), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def threads_each(workers: int) -> int:
    """Threads for each of so many processes, that together they use the cores there are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


def serve(line: Connection, number: int, job: Job, maker: DetectorMaker, threads: int) -> None:
    """What a worker does: process the videos that come through the line, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends its workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    log_to_terminal()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        detector = maker.build(number)
        line.send(None)
        while True:
            source = line.recv()
            line.send(process(source, job, detector, lambda share: line.send(float(share))))
    except EOFError:
        return
    except USER_ERRORS as error:
        line.send(str(error))
    except OSError as error:
        line.send(_cannot_write(job, error))


def _leave_with_parent() -> None:
    """End this process when its parent has ended, killed perhaps: the next run must be alone with the folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _cannot_write(job: Job, error: OSError) -> str:
    return f"{job.root}: cannot be written ({error}); make room or choose another out=, then run again"


def _dead(worker: Worker) -> tuple[Source, Outcome]:
    worker.line.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    if worker.source is None:
        raise RuntimeError(f"a worker process did not start (exit code {code}); what it said is above")
    if code < 0:
        name = signal.Signals(-code).name
        cause = "killed"
        reason = f"its worker process was killed ({name}), perhaps out of memory; try it with workers=1"
    else:
        cause, reason = "program fault", f"the program failed on it (exit code {code}); the traceback is above"
    log.error("%s: %s", worker.source.name, reason)
    return worker.source, Outcome(worker.source.name, worker.source.clip, FAILED, cause, reason)
