"""Share of a machine that a worker may use."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from wav2lip.devices import cpu_count

GIB = 1 << 30
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # limit of a container on Linux


@dataclass(frozen=True)
class Grant:
    """CPUs, memory and GPUs of one worker; fractions where several share a machine."""

    cpus: float
    memory_gib: float  # 0: unknown
    gpus: float = 0.0


def local_grant(workers: int) -> Grant:
    """Return the share of each of `workers` processes on this machine; 0 works in this process."""
    share = max(1, workers)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Grant(round(cpu_count() / share, 3), round(_total_memory() / GIB / share, 3), round(gpus / share, 3))


def _total_memory() -> int:
    """Return the bytes of memory of this machine, or of its container; 0: unknown."""
    limits: list[int] = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):  # the file says "max" without a limit
        limits.append(int(MEMORY_LIMIT.read_text()))
    return min(limits, default=0)
