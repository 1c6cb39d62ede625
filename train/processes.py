"""What several processes of one training share besides gradients: their scalars, and their last words."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import Tensor

from wav2lip.errors import BAD_INPUT, InputError


def mean_of_all(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    """Mean over the processes of each value; all of them have the same names."""
    if fabric.world_size == 1 or not values:
        return values
    together = sum_of_all(fabric, torch.tensor(list(values.values()), dtype=torch.float64))
    return dict(zip(values, (together / fabric.world_size).tolist(), strict=True))


def sum_of_all(fabric: Fabric, values: Tensor) -> Tensor:
    """Sum over the processes of float64 values on the CPU, likewise there.

    Only between several processes do they go to the device, where the backend of GPUs takes them; a device without
    float64, such as Apple's, is never one of several.
    """
    if fabric.world_size == 1:
        return values
    together = values.to(fabric.device, copy=True)
    dist.all_reduce(together)
    return together.cpu()


def first_alone_tells_news(fabric: Fabric) -> None:
    """Processes beside the first keep their news to themselves, and tell what goes wrong."""
    if not fabric.is_global_zero:
        logging.getLogger("train").setLevel(logging.WARNING)


def said_once(task: Callable[[DictConfig], int]) -> Callable[[DictConfig], int]:
    """An entry point whose bad input is told by one process, though it stops them all."""

    @functools.wraps(task)
    def run(cfg: DictConfig) -> int:
        try:
            return task(cfg)
        except InputError as error:
            if first_to_say(str(error)):
                raise
            raise SystemExit(BAD_INPUT) from None

    return run


def first_to_say(sentence: str) -> bool:
    """Whether no other process has said it; each has to ask before it speaks."""
    if not dist.is_initialized():
        return True
    try:
        return dist.distributed_c10d._get_default_store().add(f"said: {sentence}", 1) == 1
    except dist.DistError:  # the process that kept the store has ended
        return True
