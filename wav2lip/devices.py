"""What there is to compute on, and in which precision."""

from __future__ import annotations

import os
from typing import Any

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


def choose_devices(names: str = "auto") -> list[torch.device]:
    """Devices from their names, one or several with commas between them: "cuda:0,cuda:1".

    Raises: InputError if this machine does not have one of them, or one is named twice.
    """
    devices = [choose_device(name.strip()) for name in names.split(",")]
    twice = next((device for n, device in enumerate(devices) if device in devices[:n]), None)
    if twice is not None:
        raise InputError(f"--device {names}: names {twice} twice; name each device once")
    return devices


def cpu_computes_bf16() -> bool:
    """Whether this CPU has 16-bit dot products (AVX512-BF16 or AMX), with which bf16 is faster than float32."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.11 and newer
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def inference_dtype(device: torch.device) -> torch.dtype:
    """The precision in which networks run fastest: 16 bits where the chip computes in them."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_computes_bf16() else torch.float32


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
