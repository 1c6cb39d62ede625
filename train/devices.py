"""Fastest settings of the device: precision, optimizer, compilation, memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from importlib.util import find_spec

import torch
from torch import nn

from wav2lip.devices import cpu_supports_bf16, keep_freed_memory
from wav2lip.errors import InputError


def best_precision(accelerator: str) -> str:
    """Return mixed bf16 if the device computes in it, else float32, or mixed fp16 on older GPUs."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    return "bf16-mixed" if cpu_supports_bf16() else "32-true"


def configure_device(device: torch.device) -> None:
    """Set the process up for fast steps on a device; float32 on a CPU stays exact."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # training batches have one shape
        torch.set_float32_matmul_precision("high")  # TF32 where the precision is float32
        torch.backends.cudnn.allow_tf32 = True
    elif device.type == "cpu":
        keep_freed_memory()


def build_adam(network: nn.Module, rate: float, betas: Iterable[float], precision: str = "32-true") -> torch.optim.Adam:
    """Build Adam, fused into one pass over all parameters if the precision allows.

    precision: as Fabric names it; with 16-mixed the fused form would hide the loss scale from gradient clipping.
    """
    first, second = betas
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(first, second), fused=precision != "16-mixed")


def compile_network(network: nn.Module, mode: bool | str, device: torch.device) -> nn.Module:
    """Compile a network in place for static shapes; the keys of its state_dict do not change.

    mode: true, false, or auto: on CUDA if there is a compiler. On CPUs it saves no time.
    Raises: InputError if the mode is true and there is no compiler.
    """
    if mode not in (True, False, "auto"):
        raise InputError(f"compile={mode}: must be auto, true or false")
    if mode is True and not can_compile(device):
        raise InputError("compile=true: needs a C++ compiler, and Triton on a GPU; install them or set compile=auto")
    if mode is True or (mode == "auto" and device.type == "cuda" and can_compile(device)):
        network.compile(dynamic=False)
    return network


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile finds its backends: a C++ compiler, and Triton for CUDA."""
    compilers = (os.environ.get("CXX", "c++"), os.environ.get("CC", "cc"), "g++", "gcc", "clang++", "clang", "cl")
    if not any(shutil.which(name) for name in compilers):
        return False
    return device.type != "cuda" or find_spec("triton") is not None
