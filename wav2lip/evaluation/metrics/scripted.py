"""Networks that the user brings: TorchScript files, which carry their layers with them and run no code of others."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wav2lip.errors import InputError


def load_scripted(path: str | PathLike[str], flag: str, device: torch.device | str = "cpu") -> nn.Module:
    """A network saved by torch.jit.save, ready to judge; flag: the option it came with.

    Raises: InputError if the file is missing or is none.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give {flag} a network saved by torch.jit.save")
    try:
        network: Any = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: is no TorchScript network; save one by torch.jit.save for {flag}") from error
    return network.to(device).eval()


def asked(network: nn.Module, pictures: Tensor, flag: str, shape: str, dims: int) -> Tensor:
    """The answer of a user's network, (N, ...) with so many dimensions.

    Raises: InputError if the network cannot take the pictures, or answers in another shape.
    """
    try:
        answer = network(pictures)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1]
        raise InputError(f"{flag}: its network cannot take pictures {tuple(pictures.shape)} ({said})") from error
    if not isinstance(answer, Tensor) or answer.dim() != dims or len(answer) != len(pictures):
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(f"{flag}: its network answers {got} to {tuple(pictures.shape)}; it has to answer {shape}")
    return answer.float()
