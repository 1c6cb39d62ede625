"""Time and memory that one input used, measured in the process that works on it."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from wav2lip.execution.grant import Grant
from wav2lip.execution.interface import Progress, Work, WorkerContext

T = TypeVar("T")
R = TypeVar("R")

HOST_CLASS = "WAV2LIP_HOST_CLASS"  # environment variable that names the class of a machine in the prices file
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Usage:
    """Resources that the attempts at one input used."""

    wall_s: float
    cpu_s: float | None  # with child processes such as FFmpeg; None: the worker died
    peak_rss_mib: float | None  # peak of the process; None: unknown
    device: str  # cpu, mps, or the name of a GPU
    grant: Grant
    host_class: str  # class of the machine, by which it is priced
    day: str  # UTC date of the end, YYYY-MM-DD
    attempt: int = 1  # number of the attempt that succeeded, or of the last one
    lost_wall_s: float = 0.0  # wall time of earlier attempts, whose workers died

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; the granted shares beside the others."""
        values = {name: value for name, value in vars(self).items() if name != "grant"}
        return {**values, **vars(self.grant)}


@dataclass(frozen=True)
class Measured(Generic[R]):
    """A result and what it used."""

    result: R
    usage: Usage


@dataclass(frozen=True)
class MeasuredWork(Generic[T, R]):
    """Work that returns its usage beside its result."""

    work: Work[T, R]

    def __call__(self, stage_input: T, /, context: WorkerContext, progress: Progress) -> Measured[R]:
        """Process one input."""
        meter = UsageMeter(context.grant)
        result = self.work(stage_input, context, progress)
        return Measured(result, meter.stop())


class UsageMeter:
    """Measure this process from its construction on."""

    def __init__(self, grant: Grant):
        self._grant = grant
        _reset_peak()
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def stop(self) -> Usage:
        """Return the usage since the construction."""
        return Usage(
            round(time.perf_counter() - self._wall, 3),
            round(_cpu_seconds() - self._cpu, 3),
            _peak_rss_mib(),
            device_name(),
            self._grant,
            host_class(),
            today(),
        )


def crash_usage(seconds: float, attempt: int, grant: Grant) -> Usage:
    """Return the usage of an input whose worker died: only the time since it was dispatched is known.

    seconds: of all attempts together.
    """
    return Usage(round(seconds, 3), None, None, device_name(), grant, host_class(), today(), attempt)


def add_lost_attempts(result: R, lost: int, lost_seconds: float) -> R:
    """Return a measured result with the attempts before it, whose workers died; another result as it is."""
    if not isinstance(result, Measured) or not lost:
        return result
    usage = replace(result.usage, attempt=1 + lost, lost_wall_s=round(lost_seconds, 3))
    return replace(result, usage=usage)  # type: ignore[return-value]


def host_class() -> str:
    """Return the class of this machine: WAV2LIP_HOST_CLASS, or the system and the architecture."""
    return os.environ.get(HOST_CLASS) or f"{sys.platform}-{platform.machine()}".lower()


def today() -> str:
    """Return the UTC date as YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()


@lru_cache
def device_name() -> str:
    """Return the name of the first GPU of this process; mps or cpu where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak() -> None:
    """Reset the peak of this process where Linux allows it; elsewhere it is that of all inputs so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_rss_mib() -> float | None:
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
    peak = next((line for line in lines if line.startswith("VmHWM")), None)
    if peak is not None:
        return round(int(peak.split()[1]) * KIB / MIB, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak_rss * (1 if sys.platform == "darwin" else KIB) / MIB, 1)
