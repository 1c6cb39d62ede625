"""Checkpoints in upstream's format.

A file contains a dict with `state_dict`, `optimizer`, `global_step` and `global_epoch`. This project's own state is
under one more key, `wav2lip`, so that upstream's code can still read the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wav2lip.checkpoints.reader import load_safely
from wav2lip.checkpoints.state_dict import find_state_dict
from wav2lip.errors import InputError, file_error
from wav2lip.files import write_atomically
from wav2lip.types import PathType

MAX_STEP = 1 << 53  # beyond it, floats of other programs have lost the number


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    state_dict: Mapping[str, Tensor]  # without the prefixes of wrappers
    optimizer: dict[str, Any] | None = None  # an optimizer's state_dict, matched by parameter order
    global_step: int = 0  # optimizer steps
    global_epoch: int = 0  # passes over the data
    # State of this project: tensors, numbers, strings, and lists and dicts of them.
    extras: dict[str, Any] = field(default_factory=dict)


def load_checkpoint(path: PathType, layer: str | None = None) -> Checkpoint:
    """Load a checkpoint of this project, upstream or another trainer, or a bare state_dict, to the CPU.

    Reads the zip and legacy formats of torch.save, TorchScript archives and safetensors.
    layer: weight of the network to load if the file has several; without it, the generator.
    Raises: InputError if the file is missing, of another kind, corrupt, or contains anything but weights and plain
        values.
    """
    content = load_safely(path)
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: contains a {type(content).__name__}, not a checkpoint; give a file with a state_dict"
        )
    return Checkpoint(
        state_dict=find_state_dict(content, path, layer),
        optimizer=_read_dict(content, "optimizer", path),
        global_step=_read_count(content, "global_step", path),
        global_epoch=_read_count(content, "global_epoch", path),
        extras=_read_dict(content, "wav2lip", path) or {},
    )


def _read_count(content: Mapping[str, Any], key: str, path: PathType) -> int:
    """Return a number of steps or epochs; files of PyTorch Lightning and bare weights have none."""
    value = content.get(key, 0)
    if isinstance(value, Tensor | np.generic) and np.ndim(value) == 0:
        value = value.item()
    value = 0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_STEP:
        raise InputError(f"{path}: is damaged: {key} must be a number from 0 on, not {value!r:.40}; give another file")
    return int(value)


def _read_dict(content: Mapping[str, Any], key: str, path: PathType) -> dict[str, Any] | None:
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise InputError(
            f"{path}: is damaged: {key} must be a dict, not a {type(value).__name__}; give another file, or only its "
            "weights with torch.save({'state_dict': ...}, FILE)"
        )
    return value


def save_checkpoint(path: PathType, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises: InputError if it cannot be written, for example because the disk is full.
    """
    path = Path(path)
    content: dict[str, Any] = {
        "state_dict": dict(checkpoint.state_dict),
        "optimizer": checkpoint.optimizer,
        "global_step": checkpoint.global_step,
        "global_epoch": checkpoint.global_epoch,
    }
    if checkpoint.extras:
        content["wav2lip"] = checkpoint.extras

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            torch.save(content, file)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise file_error(error, path) from error
    except RuntimeError as error:  # of torch's archive writer, when a write fails
        if not isinstance(error.__context__, OSError):
            raise
        raise file_error(error.__context__, path) from error
