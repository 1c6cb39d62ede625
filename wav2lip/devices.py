"""What there is to compute on."""

from __future__ import annotations

import os

import torch

from wav2lip.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """A device from its name: auto (CUDA, then MPS, then the CPU), cpu, cuda, cuda:N or mps.

    Raises: InputError if this machine does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name}: this machine does not have it; use auto or cpu") from error
    return device


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
