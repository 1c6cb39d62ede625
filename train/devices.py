"""What the chip at hand computes fastest: precision, optimizer, compilation, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

import torch
from torch import nn

from wav2lip.devices import cpu_computes_bf16
from wav2lip.errors import InputError

# Of glibc's mallopt: above which size a block is a mapping of its own, and from how much on freed memory is returned.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def best_precision(accelerator: str) -> str:
    """bf16 where the chip computes in it, else 32 bits."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    return "bf16-mixed" if cpu_computes_bf16() else "32-true"


def make_ready(device: torch.device) -> None:
    """Settings of the process that make steps on this device faster; none touches float32 on a CPU."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # training batches have one shape
        torch.set_float32_matmul_precision("high")  # TF32 for what stays in 32 bits
        torch.backends.cudnn.allow_tf32 = True
    elif device.type == "cpu":
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Have the allocator keep what is freed, since the next step asks for the same; False where it cannot be told.

    glibc gives large blocks back to the system at once, and getting them again, page by page and zeroed, takes up to a
    quarter of a step. The process then holds its largest need until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def adam(network: nn.Module, rate: float, betas: Iterable[float], precision: str = "32-true") -> torch.optim.Adam:
    """Adam over all parameters in one pass, where the device has it.

    precision: as Fabric names it; with 16-mixed the fused form would hide the loss scale from gradient clipping.
    """
    first, second = betas
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(first, second), fused=precision != "16-mixed")


def compiled(network: nn.Module, wanted: bool | str, device: torch.device) -> nn.Module:
    """The network itself, from now on compiled for the shapes it meets; its state_dict keeps its keys.

    wanted: true, false, or auto: on CUDA where a compiler is at hand. On CPUs it was measured to bring nothing.
    Raises: InputError if it is wanted and there is no compiler.
    """
    if wanted not in (True, False, "auto"):
        raise InputError(f"compile={wanted}: is none of auto, true and false")
    if wanted is True and not can_compile(device):
        raise InputError("compile=true: finds no C++ compiler, or on a GPU no Triton; install one or give compile=auto")
    if wanted is True or (wanted == "auto" and device.type == "cuda" and can_compile(device)):
        network.compile(dynamic=False)
    return network


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it writes its code for: a C++ compiler, and Triton for CUDA."""
    compilers = (os.environ.get("CXX", "c++"), os.environ.get("CC", "cc"), "g++", "gcc", "clang++", "clang", "cl")
    if not any(shutil.which(name) for name in compilers):
        return False
    return device.type != "cuda" or find_spec("triton") is not None
