"""Executor on local processes: an input that crashes its process costs no other input."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2
import torch

from wav2lip.cli import configure_logging
from wav2lip.errors import USER_ERRORS, InputError
from wav2lip.execution.grant import Grant, local_grant
from wav2lip.execution.interface import FAULT, KILLED, Abort, Crash, Progress, Work, WorkerContext, threads_of

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Done(Generic[R]):
    result: R


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    stage_input: Any = None
    is_busy: bool = False
    progress: float = 0.0
    started: float = 0.0  # time of the dispatch


class ProcessExecutor:
    """Spawned processes that live through all stages of a run. Use as a context manager."""

    def __init__(self, workers: int):
        """workers: number of processes; 0 does all work in this one."""
        if workers < 0:
            raise InputError(f"workers={workers}: must be 0 or more; 0 works in this process")
        self.workers = workers
        self._mp = multiprocessing.get_context("spawn")
        self._pool: list[_Worker] = []
        self.grant = local_grant(workers)
        self._own_context = WorkerContext(0, self.grant)

    def __enter__(self) -> ProcessExecutor:
        return self

    def map(
        self, work: Work[T, R], inputs: Sequence[T], progress: Progress = lambda inputs: None
    ) -> Iterator[tuple[T, R | Crash]]:
        """Yield each input with its result as soon as it is complete; see `Executor.map`."""
        if self.workers == 0:
            for stage_input in inputs:
                yield stage_input, work(stage_input, self._own_context, progress)
            return
        remaining = iter(inputs)
        for index in range(min(self.workers, len(inputs))):
            if index == len(self._pool):
                self._pool.append(self._start_worker(index))
            self._dispatch(index, work, remaining)
        while any(worker.is_busy for worker in self._pool):
            for connection in wait([worker.connection for worker in self._pool if worker.is_busy]):
                index = next(n for n, worker in enumerate(self._pool) if worker.connection is connection)
                worker = self._pool[index]
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield worker.stage_input, _describe_crash(worker)
                    self._pool[index] = self._start_worker(index)
                else:
                    if isinstance(message, Abort):
                        raise message.to_exception()
                    if isinstance(message, float):
                        worker.progress = message
                        progress(sum(w.progress for w in self._pool if w.is_busy))
                        continue
                    yield worker.stage_input, message.result
                self._dispatch(index, work, remaining)

    def _dispatch(self, index: int, work: Work[T, R], remaining: Iterator[T]) -> None:
        """Send the next input to a worker; it stays idle when there is none."""
        worker = self._pool[index]
        worker.stage_input, worker.progress, worker.is_busy = None, 0.0, False
        for stage_input in remaining:
            worker.stage_input, worker.is_busy, worker.started = stage_input, True, time.monotonic()
            with suppress(BrokenPipeError):  # The process died just now; the next wait reports it.
                worker.connection.send((work, stage_input))
            return

    def _start_worker(self, index: int) -> _Worker:
        parent, child = self._mp.Pipe()
        process = self._mp.Process(target=_worker_main, args=(child, index, self.grant), daemon=True)
        process.start()
        child.close()
        return _Worker(process, parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._pool:
            worker.process.terminate()
            worker.process.join()
            worker.connection.close()
        self._pool.clear()


def _worker_main(connection: Connection, index: int, grant: Grant) -> None:
    """Process inputs from the connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its workers.
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    configure_logging()
    torch.set_num_threads(threads_of(grant))
    cv2.setNumThreads(threads_of(grant))
    context = WorkerContext(index, grant)
    try:
        while True:
            work, stage_input = connection.recv()
            connection.send(_Done(work(stage_input, context, lambda fraction: connection.send(float(fraction)))))
    except EOFError:
        return
    except (*USER_ERRORS, OSError) as error:
        connection.send(Abort.from_exception(error))


def _exit_with_parent() -> None:
    """End this process when its parent has ended, perhaps killed, so that the next run is the only writer."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _describe_crash(worker: _Worker) -> Crash:
    worker.connection.close()
    worker.process.join()
    code, seconds = worker.process.exitcode or 0, time.monotonic() - worker.started
    if code < 0:
        name = signal.Signals(-code).name
        reason = f"it killed its worker process ({name}), perhaps out of memory; run with fewer workers"
        return Crash(KILLED, reason, seconds)
    return Crash(FAULT, f"the program failed on it (exit code {code}); the traceback is above", seconds)
