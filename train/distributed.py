"""Communication between the processes of a run: scalars, who logs, and their common end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import Tensor

from wav2lip.cli import EXIT_BAD_INPUT
from wav2lip.errors import InputError


def all_reduce_mean(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """Return the mean over the processes of each value; all processes pass the same names."""
    if fabric.world_size == 1 or not values:
        return values
    total = all_reduce_sum(fabric, torch.tensor(list(values.values()), dtype=torch.float64))
    return dict(zip(values, (total / fabric.world_size).tolist(), strict=True))


def all_reduce_sum(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the sum over the processes of a float64 tensor on the CPU.

    With several processes it goes through the device, for the GPU backend; a device without float64, such as Apple's,
    never has several.
    """
    if fabric.world_size == 1:
        return values
    total = values.to(fabric.device, copy=True)
    dist.all_reduce(total)
    return total.cpu()


def silence_other_ranks(fabric: Fabric) -> None:
    """Let only rank 0 log at INFO; other ranks log warnings and errors."""
    if not fabric.is_global_zero:
        logging.getLogger("train").setLevel(logging.WARNING)


def distributed_main(task: Callable[[DictConfig], int]) -> Callable[[DictConfig], int]:
    """Wrap an entry point that several processes run.

    Bad input, which stops all processes, is reported by one of them. After a run the processes end together.
    """

    @functools.wraps(task)
    def wrapper(cfg: DictConfig) -> int:
        try:
            code = task(cfg)
        except InputError as error:
            if is_first_report(str(error)):
                raise
            raise SystemExit(EXIT_BAD_INPUT) from None
        leave_process_group()
        return code

    return wrapper


def leave_process_group() -> None:
    """Wait for the other processes and leave their group; a process that ends earlier can abort the others."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def is_first_report(message: str) -> bool:
    """Return whether no other process has reported a message yet."""
    if not dist.is_initialized():
        return True
    try:
        return dist.distributed_c10d._get_default_store().add(f"reported: {message}", 1) == 1
    except dist.DistError:  # the process that hosts the store has ended
        return True
