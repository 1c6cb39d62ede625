"""Selection of compute devices and precision."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

import torch

from wav2lip.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt


def choose_device(name: str = "auto") -> torch.device:
    """Return a device by name: auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:N or mps.

    Raises: InputError if it is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name}: not available on this machine; use auto or cpu") from error
    return device


def choose_devices(names: str = "auto") -> list[torch.device]:
    """Return devices by comma-separated names, such as "cuda:0,cuda:1".

    Raises: InputError if one is not available or named twice.
    """
    devices = [choose_device(name.strip()) for name in names.split(",")]
    duplicate = next((device for n, device in enumerate(devices) if device in devices[:n]), None)
    if duplicate is not None:
        raise InputError(f"--device {names}: names {duplicate} twice; name each device once")
    return devices


def cpu_supports_bf16() -> bool:
    """Return True if the CPU has bf16 dot products (AVX512-BF16 or AMX), which make bf16 faster than float32."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def inference_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest precision of a device for inference: 16 bits if it computes in them natively."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_supports_bf16() else torch.float32


def cpu_count() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory(limit_bytes: int | None = None) -> bool:
    """Let the allocator keep freed memory for the next step or frame; return whether it can.

    glibc returns large blocks to the system, and getting them again, page by page and zeroed, takes up to a quarter of
    the time.
    limit_bytes: at most 2 GiB; freed memory above it is returned, and so are blocks larger than half of it. None:
        nothing is returned, so that the process occupies its peak until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    if limit_bytes is None:
        options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
    else:
        options = {M_MMAP_THRESHOLD: limit_bytes // 2, M_TRIM_THRESHOLD: limit_bytes - 1}  # C integers
    libc = ctypes.CDLL(None)
    return all([libc.mallopt(option, value) for option, value in options.items()])  # sets each
