"""Work spread over processes, so that a unit that crashes its process costs itself and no other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import cv2
import torch

from wav2lip.devices import cores
from wav2lip.errors import USER_ERRORS, InputError, log_to_terminal

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

Progress = Callable[[float], object]  # told the share of a unit that is done, in [0, 1]


class Maker(Protocol[R_out]):
    """Builds what is too large to send to another process; must be picklable and hashable."""

    def build(self, worker: int) -> R_out:
        """worker: number of the process from 0, to choose a GPU by."""
        ...


class Tools:
    """What a process builds once and uses for all its units: a detector, an expert."""

    def __init__(self, worker: int):
        self.worker = worker
        self._built: dict[Maker[Any], Any] = {}

    def get(self, maker: Maker[R]) -> R:
        """What a maker builds."""
        if maker not in self._built:
            self._built[maker] = maker.build(self.worker)
        return self._built[maker]


class Work(Protocol[T_in, R_out]):
    """What is done to each unit; must be picklable, like the units and the results."""

    def __call__(self, unit: T_in, /, tools: Tools, progress: Progress) -> R_out:
        """Raises: InputError or OSError only for what every other unit would meet too: they end the run."""
        ...


@dataclass(frozen=True)
class Crash:
    """What is known of a unit whose process died."""

    cause: str
    reason: str


@dataclass(frozen=True)
class _Done(Generic[R]):
    result: R


@dataclass(frozen=True)
class _GivenUp:
    sentence: str
    disk: bool  # whether a file could not be read or written


@dataclass
class _Worker:
    process: BaseProcess
    line: Connection
    unit: Any = None
    busy: bool = False
    share: float = 0.0


class Crew:
    """Processes that live through all stages of a run. Use as a context manager."""

    def __init__(self, workers: int):
        """workers: processes; 0 does all work in this one."""
        if workers < 0:
            raise InputError(f"workers={workers}: is below 0; give a number of processes, 0 for none besides this one")
        self.workers = workers
        self._context = multiprocessing.get_context("spawn")
        self._hired: list[_Worker] = []
        self._own_tools = Tools(0)

    def __enter__(self) -> Crew:
        return self

    def do(
        self, work: Work[T, R], units: Sequence[T], progress: Callable[[float], object] = lambda units: None
    ) -> Iterator[tuple[T, R | Crash]]:
        """Do a work to all units; yields them as they are done.

        progress: called with how many units' worth is done of those at work.
        Raises: InputError or OSError if the work cannot be done at all: a detector not be built, a file not be written.
        """
        if self.workers == 0:
            for unit in units:
                yield unit, work(unit, self._own_tools, progress)
            return
        waiting = iter(units)
        for number in range(min(self.workers, len(units))):
            if number == len(self._hired):
                self._hired.append(self._hire(number))
            self._give(number, work, waiting)
        while any(worker.busy for worker in self._hired):
            for line in wait([worker.line for worker in self._hired if worker.busy]):
                number = next(n for n, worker in enumerate(self._hired) if worker.line is line)
                worker = self._hired[number]
                try:
                    message = worker.line.recv()
                except (EOFError, OSError):
                    yield worker.unit, _crash(worker)
                    self._hired[number] = self._hire(number)
                else:
                    if isinstance(message, _GivenUp):
                        raise OSError(message.sentence) if message.disk else InputError(message.sentence)
                    if isinstance(message, float):
                        worker.share = message
                        progress(sum(w.share for w in self._hired if w.busy))
                        continue
                    yield worker.unit, message.result
                self._give(number, work, waiting)

    def _give(self, number: int, work: Work[T, R], waiting: Iterator[T]) -> None:
        worker = self._hired[number]
        worker.unit, worker.share, worker.busy = None, 0.0, False
        for unit in waiting:
            worker.unit, worker.busy = unit, True
            with suppress(BrokenPipeError):  # it died just now: the next wait says so
                worker.line.send((work, unit))
            return

    def _hire(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, number, threads_each(self.workers)), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._hired:
            worker.process.terminate()
            worker.process.join()
            worker.line.close()
        self._hired.clear()


def threads_each(workers: int) -> int:
    """Threads for each of so many processes, that together they use the cores there are."""
    return max(1, cores() // workers)


def _serve(line: Connection, number: int, threads: int) -> None:
    """What a worker does: the work that comes through the line, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends its workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    log_to_terminal()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    tools = Tools(number)
    try:
        while True:
            work, unit = line.recv()
            line.send(_Done(work(unit, tools, lambda share: line.send(float(share)))))
    except EOFError:
        return
    except (*USER_ERRORS, OSError) as error:
        line.send(_GivenUp(str(error), isinstance(error, OSError)))


def _leave_with_parent() -> None:
    """End this process when its parent has ended, killed perhaps: the next run must be alone with the folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _crash(worker: _Worker) -> Crash:
    worker.line.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        return Crash("killed", f"its worker process was killed ({name}), perhaps out of memory; try it with workers=1")
    return Crash("program fault", f"the program failed on it (exit code {code}); the traceback is above")
