"""Build the executor that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from wav2lip.errors import InputError
from wav2lip.execution.interface import Executor
from wav2lip.execution.local import ProcessExecutor

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class ExecutorSettings:
    """Place and number of the workers."""

    kind: str = "local"  # one of EXECUTORS
    workers: int = 2  # local: 0 works in this process
    ray_address: str = "auto"  # address of the cluster's head; "local" starts a cluster on this machine
    worker_cpus: float = 1.0  # granted to each worker by Ray
    worker_gpus: float = 0.0  # granted to each worker by Ray; a fraction shares a GPU

    def __post_init__(self) -> None:
        if self.kind not in EXECUTORS:
            raise InputError(f"executor={self.kind}: must be one of {', '.join(EXECUTORS)}")
        if self.worker_cpus <= 0 or self.worker_gpus < 0:
            raise InputError(
                f"worker_cpus={self.worker_cpus:g}, worker_gpus={self.worker_gpus:g}: must be above 0, and 0 or more"
            )


def build_executor(settings: ExecutorSettings) -> Executor:
    """Build an executor; use it as a context manager.

    Raises: InputError for a number of workers that it cannot have, without Ray, or without its cluster.
    """
    if settings.kind == "local":
        return ProcessExecutor(settings.workers)
    from wav2lip.execution.ray_cluster import RayExecutor  # an engine is imported by its own executor only

    grant = settings.worker_cpus, settings.worker_gpus
    return RayExecutor(settings.workers, settings.ray_address, *grant)
