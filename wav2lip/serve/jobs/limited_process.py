"""Limit a child process: python -m wav2lip.serve.jobs.limited_process LIMITS MODULE ARGUMENTS

The limits are POSIX's; on Windows only the time that the caller waits is limited.
"""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import asdict, dataclass

MIB = 1 << 20  # bytes


@dataclass(frozen=True)
class ProcessLimits:
    """Limits of one process."""

    memory_mib: int  # private writable memory; address space that is only reserved does not count
    cpu_seconds: int
    file_mib: int  # largest file that it may write; 0: none


def build_command(limits: ProcessLimits, module: str, *arguments: str) -> list[str]:
    """Build the command that runs a module under limits, as `python -m MODULE ARGUMENTS` does without."""
    return [sys.executable, "-m", "wav2lip.serve.jobs.limited_process", json.dumps(asdict(limits)), module, *arguments]


def apply_limits(limits: ProcessLimits) -> None:
    """Limit this process for the rest of its life."""
    if sys.platform == "win32":
        return
    import resource

    for kind, value in (
        (resource.RLIMIT_DATA, limits.memory_mib * MIB),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_mib * MIB),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def main() -> None:
    """Run the module that the command line names."""
    limits, module, *arguments = sys.argv[1:]
    apply_limits(ProcessLimits(**json.loads(limits)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
