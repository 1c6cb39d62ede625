"""Protocols between the stages and their executor: local processes or a Ray cluster.

The driver alone writes the manifest. Work objects, inputs and records are picklable; a resource that is too large to
pickle (a detector, a SyncNet) is built in the worker by a resource factory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

import torch

from wav2lip.devices import choose_device
from wav2lip.errors import InputError
from wav2lip.execution.grant import Grant

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

KILLED, FAULT = "killed its worker", "program fault"  # causes of a crash

Progress = Callable[[float], object]  # receives the completed fraction of one input, in [0, 1]


class ResourceFactory(Protocol[R_out]):
    """Build a resource inside a worker; must be picklable and hashable."""

    def build(self, worker: int) -> R_out:
        """worker: index of the worker from 0, by which a GPU is chosen."""
        ...


class WorkerContext:
    """Resources of one worker, built on first use and shared by all its inputs."""

    def __init__(self, worker: int, grant: Grant):
        """worker: index from 0. grant: its share of the machine."""
        self.worker, self.grant = worker, grant
        self._resources: dict[ResourceFactory[Any], Any] = {}

    def get(self, factory: ResourceFactory[R]) -> R:
        """Return the resource of a factory, building it on the first call."""
        if factory not in self._resources:
            self._resources[factory] = factory.build(self.worker)
        return self._resources[factory]


class Work(Protocol[T_in, R_out]):
    """A function of one input; must be picklable, like its inputs and results."""

    def __call__(self, stage_input: T_in, /, context: WorkerContext, progress: Progress) -> R_out:
        """Process one input.

        Raises: InputError or OSError only for a fault that every other input would meet too; they end the run.
        """
        ...


@dataclass(frozen=True)
class Crash:
    """Result of an input whose worker process died."""

    cause: str
    reason: str
    seconds: float = 0.0  # from the dispatch to the death, of all attempts together
    attempts: int = 1


@dataclass(frozen=True)
class Abort:
    """An error that ends the run, sent from a worker to the driver as text."""

    message: str
    os_error: tuple[int | None, str | None, str | None] | None = None  # number, reason and file, if it is one

    @classmethod
    def from_exception(cls, error: Exception) -> Abort:
        """Describe an error of `USER_ERRORS`, or an OSError."""
        if not isinstance(error, OSError):
            return cls(str(error))
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
        return cls(str(error), (error.errno, error.strerror, name))

    def to_exception(self) -> Exception:
        """Return the error that the worker caught."""
        if self.os_error is None:
            return InputError(self.message)
        number, _, _ = self.os_error
        return OSError(self.message) if number is None else OSError(*self.os_error)


class Executor(Protocol):
    """Run work over many inputs. Use as a context manager."""

    @property
    def grant(self) -> Grant:
        """Share of a machine of each worker."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def map(
        self, work: Work[T, R], inputs: Sequence[T], progress: Progress = lambda inputs: None
    ) -> Iterator[tuple[T, R | Crash]]:
        """Yield each input with its result as soon as it is complete, in any order.

        progress: called with the sum of the completed fractions of all inputs in work.
        Raises: InputError or OSError if the work is impossible, for example because a detector cannot be built.
        """
        ...


def threads_of(grant: Grant) -> int:
    """Return the threads with which a worker uses its share of the CPUs."""
    return max(1, int(grant.cpus))


def choose_worker_device(name: str, worker: int) -> torch.device:
    """Return the device of a worker; several workers are spread over the GPUs."""
    device = choose_device(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", worker % torch.cuda.device_count())
    return device
