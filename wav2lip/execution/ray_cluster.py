"""Executor on a Ray cluster: one actor per worker, which keeps its networks loaded.

The driver assigns each input to an idle actor, so that at most one input per actor is in flight. An actor that dies,
with its process or its node, is replaced, and its input runs again, at most `MAX_ATTEMPTS` times. A worker whose actors
do not start is dropped while there are others.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2
import torch

from wav2lip.cli import configure_logging
from wav2lip.errors import USER_ERRORS, InputError
from wav2lip.execution.grant import GIB, Grant
from wav2lip.execution.interface import FAULT, KILLED, Abort, Crash, Progress, Work, WorkerContext, threads_of
from wav2lip.execution.usage import add_lost_attempts

try:
    import ray
except ImportError as error:
    raise InputError('executor=ray: Ray is not installed; install it with pip install -e ".[ray]"') from error

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_ATTEMPTS = 3  # limit for an input whose worker dies
MAX_FAILED_STARTS = 3  # actors in a row in the place of one worker
START_TIMEOUT_S = 120.0  # until the first actor is ready; the cluster has no resources for one after that
LOCAL_ADDRESS = "local"


class _Actor:
    """A worker; runs in a process of the cluster."""

    def __init__(self, index: int, grant: Grant):
        configure_logging()
        torch.set_num_threads(threads_of(grant))
        cv2.setNumThreads(threads_of(grant))
        self._context = WorkerContext(index, grant)

    def ready(self) -> None:
        """Return when the process has started."""

    def call(self, work: Work[Any, Any], stage_input: Any) -> Any:
        """Process one input; an error that ends the run is returned."""
        try:
            return work(stage_input, self._context, lambda fraction: None)
        except (*USER_ERRORS, OSError) as error:
            return Abort.from_exception(error)


@dataclass
class _Item(Generic[T]):
    """An input with the attempts at it."""

    stage_input: T
    attempts: int = 0
    seconds: float = 0.0  # sum over the attempts whose workers died
    started: float = 0.0


@dataclass
class _Worker:
    index: int
    actor: Any
    item: _Item[Any] | None = None  # None while the actor starts
    failed_starts: int = 0  # actors in a row that died before they were ready


class RayExecutor:
    """Actors that live through all stages of a run. Use as a context manager."""

    def __init__(self, workers: int, address: str, cpus: float = 1.0, gpus: float = 0.0):
        """workers: number of actors. address: see `ExecutorSettings`. cpus, gpus: granted to each actor."""
        if workers < 1:
            raise InputError(f"workers={workers}: must be 1 or more with executor=ray")
        self.workers, self._address = workers, address
        self._cpus, self._gpus = cpus, gpus
        self._pool: list[_Worker] = []
        self._idle: deque[_Worker] = deque()
        self._pending: dict[Any, _Worker] = {}  # key: object reference of the running call
        self._is_owner = False
        self.grant = Grant(cpus, 0.0, gpus)

    def __enter__(self) -> RayExecutor:
        if not ray.is_initialized():
            cpus = max(1, round(self.workers * self._cpus)) if self._address == LOCAL_ADDRESS else None
            try:
                ray.init(self._address, num_cpus=cpus, include_dashboard=False, logging_level=logging.WARNING)
            except ConnectionError as error:
                raise InputError(
                    f"ray_address={self._address}: no Ray cluster answers there; start one, or use ray_address=local"
                ) from error
            self._is_owner = True
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        shares = [node["memory"] / GIB * self._cpus / node["CPU"] for node in nodes if node.get("CPU")]
        self.grant = Grant(self._cpus, round(min(shares, default=0.0), 3), self._gpus)
        return self

    def map(
        self, work: Work[T, R], inputs: Sequence[T], progress: Progress = lambda inputs: None
    ) -> Iterator[tuple[T, R | Crash]]:
        """Yield each input with its result as soon as it is complete; see `Executor.map`. Fractions are not reported.

        Raises: InputError if the cluster starts no actor within two minutes, or all actors die at their start.
        """
        remaining = deque(_Item(stage_input) for stage_input in inputs)
        unfinished = len(remaining)
        shared_work = ray.put(work)
        while len(self._pool) < min(self.workers, unfinished):
            used = {worker.index for worker in self._pool}
            self._pool.append(self._start(_Worker(next(n for n in count() if n not in used), None)))
        while unfinished:
            while remaining and self._idle:
                self._dispatch(self._idle.popleft(), remaining.popleft(), shared_work)
            for reference in self._wait():
                worker = self._pending.pop(reference)
                item, worker.item = worker.item, None
                outcome = self._collect(reference, worker, item)
                if item is None:
                    continue
                if outcome is None:
                    remaining.appendleft(item)
                    continue
                if isinstance(outcome, Abort):
                    self._cancel()
                    raise outcome.to_exception()
                unfinished -= 1
                yield item.stage_input, outcome

    def _start(self, worker: _Worker) -> _Worker:
        """Start an actor, or another in the place of a dead one."""
        actor = ray.remote(_Actor).options(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0)
        worker.actor = actor.remote(worker.index, self.grant)
        self._pending[worker.actor.ready.remote()] = worker
        return worker

    def _dispatch(self, worker: _Worker, item: _Item[T], work: Any) -> None:
        item.attempts += 1
        item.started, worker.item = time.monotonic(), item
        self._pending[worker.actor.call.remote(work, item.stage_input)] = worker

    def _wait(self) -> list[Any]:
        is_starting = not self._idle and all(worker.item is None for worker in self._pending.values())
        done, _ = ray.wait(list(self._pending), timeout=START_TIMEOUT_S if is_starting else None)
        if not done:
            raise InputError(
                f"executor=ray: the cluster granted no worker {self._cpus:g} CPUs and {self._gpus:g} GPUs within "
                f"{START_TIMEOUT_S:g} s; add nodes, or lower worker_cpus and worker_gpus"
            )
        return list(done)

    def _collect(self, reference: Any, worker: _Worker, item: _Item[T] | None) -> Any:
        """Return the result of a call, or a crash; None if there is none yet, since the actor died or has started."""
        try:
            result = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            self._idle.append(worker)
            assert item is not None  # `_Actor.ready` cannot fail
            item.seconds += time.monotonic() - item.started
            return Crash(FAULT, f"the program failed on it ({_last_line(error)})", item.seconds, item.attempts)
        except ray.exceptions.RayError as error:  # the actor or its node is dead, or out of memory
            _kill(worker)
            if item is None:
                self._restart(worker, error)
                return None
            self._start(worker)
            item.seconds += time.monotonic() - item.started
            if item.attempts < MAX_ATTEMPTS:
                return None
            return Crash(KILLED, f"it killed its worker process {MAX_ATTEMPTS} times", item.seconds, item.attempts)
        self._idle.append(worker)
        worker.failed_starts = 0
        return None if item is None else add_lost_attempts(result, item.attempts - 1, item.seconds)

    def _restart(self, worker: _Worker, error: Exception) -> None:
        """Start an actor in the place of one that died at its start; drop the worker if that happened too often."""
        worker.failed_starts += 1
        if worker.failed_starts < MAX_FAILED_STARTS:
            self._start(worker)
            return
        message = (
            f"executor=ray: a worker died at its start {MAX_FAILED_STARTS} times ({_last_line(error)}); install the "
            "project on every node, in one version"
        )
        self._pool = [other for other in self._pool if other is not worker]
        if not self._pool:
            self._cancel()
            raise InputError(message)
        logger.warning("%s; the others go on", message)

    def _cancel(self) -> None:
        """Forget all calls in flight."""
        for worker in self._pool:
            _kill(worker)
        self._pool.clear()
        self._idle.clear()
        self._pending.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()
        if self._is_owner:
            ray.shutdown()


def _kill(worker: _Worker) -> None:
    """End the actor of a worker, if it lives."""
    with suppress(ray.exceptions.RayError):
        ray.kill(worker.actor)


def _last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which names the cause."""
    return str(error).strip().splitlines()[-1].strip()
