"""Run functions of tests in two processes that communicate."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PROCESSES = 2


def run_in_two_processes(function: Callable[[int], Any], folder: Path) -> list[Any]:
    """Call a module's function with the rank in two processes of a gloo group; return the results."""
    mp.spawn(_call, (function, folder), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def _call(rank: int, function: Callable[[int], Any], folder: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    torch.save(function(rank), folder / f"{rank}.pt")
    if dist.is_initialized():
        dist.destroy_process_group()
