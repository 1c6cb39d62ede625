"""Checkpoints in the public release's format, read safely and written atomically.

A file holds a dict with `state_dict`, `optimizer`, `global_step` and `global_epoch`; what only this project knows
stands under one more key, `wav2lip`, so that other programs still read the file.
"""

from __future__ import annotations

import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wav2lip.errors import InputError

PathType = str | PathLike[str]

READ_AT_ONCE = 1 << 20  # bytes

# A key that only the named network has.
KNOWN_NETWORKS = {
    "binary_pred.0.weight": "a visual-quality discriminator",
    "output_block.1.weight": "a Wav2Lip generator",
    "face_encoder.0.conv_block.0.weight": "a SyncNet expert",
    "conv3_3_norm_mbox_conf.weight": "the S3FD face detector",
    "netcnnaud.0.weight": "SyncNet v2, which sync is scored with",
}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    state_dict: Mapping[str, Tensor]  # without `module.` prefixes
    optimizer: dict[str, Any] | None = None  # an optimizer's state_dict, matched by parameter order
    global_step: int = 0  # optimizer steps
    global_epoch: int = 0  # passes over the data
    extras: dict[str, Any] = field(default_factory=dict)  # ours: tensors, numbers, strings, lists and dicts of them


def load_checkpoint(path: PathType) -> Checkpoint:
    """Read a checkpoint of this project or of the public release, or a bare state_dict; to the CPU.

    Zip or legacy format, keys with or without `module.`.
    Raises: InputError if the file is missing, damaged, or holds anything but weights and plain values.
    """
    content = read_safely(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a checkpoint; give a file with a state_dict")
    weights = content.get("state_dict", content)
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise InputError(f"{path}: has no state_dict of tensors; give a checkpoint of a network")
    return Checkpoint(
        state_dict={key.removeprefix("module."): value for key, value in weights.items()},
        optimizer=content.get("optimizer"),
        global_step=int(content.get("global_step", 0)),
        global_epoch=int(content.get("global_epoch", 0)),
        extras=content.get("wav2lip", {}),
    )


def read_safely(path: PathType) -> object:
    """What torch.save wrote into a file, to the CPU.

    Raises: InputError if the file is missing, damaged, or holds anything but weights and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; check the path")
    try:
        if tarfile.is_tarfile(path):
            raise InputError(
                f"{path}: is in the tar format of the first torch releases, which cannot be opened safely; where you "
                "trust it, save it again with torch.save(torch.load(FILE, weights_only=False), NEW_FILE)"
            )
        _check_records(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than weights, or is no checkpoint, and is not opened for safety; where it comes from, "
            "save it again with torch.save({'state_dict': model.state_dict()}, FILE)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, struct.error,
            zipfile.BadZipFile) as error:  # fmt: skip  # what an unpickler raises at other files, a WAV for instance
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise InputError(f"{path}: is not a whole checkpoint ({reason}); copy or download it again") from error


def _check_records(path: Path) -> None:
    """Compare each record of a zip file with its checksum, which torch.load leaves out; 0.15 s for 440 MB.

    Other formats have none, nor has a file that was written without (torch.serialization.set_crc32_options).
    Raises: zipfile.BadZipFile if one differs.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.CRC:
                with archive.open(record) as data:
                    while data.read(READ_AT_ONCE):
                        pass


def save_checkpoint(path: PathType, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; killed at any moment, the file is the old one or the new one.

    Raises: InputError if it cannot be written, a full disk included.
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
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's archive writer raises RuntimeError when a write fails
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: could not be written ({error}); free some space or choose another folder") from error


N = TypeVar("N", bound=nn.Module)


def load_network(path: PathType, network: type[N]) -> N:
    """Build a network of the width and resolution that a checkpoint's weights have, and load them strictly.

    network: SyncNet, Wav2Lip or VisualQualityDiscriminator.
    Raises: InputError if the file is not a checkpoint of that network.
    """
    weights = load_checkpoint(path).state_dict
    sized: Any = network
    try:
        model = sized(**sized.shape_of(weights)._asdict())
    except KeyError as error:
        raise _other_network(path, weights, network) from error
    except ValueError as error:
        raise _other_layers(path, network, str(error)) from error
    load_weights(model, weights, path)
    return model


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: PathType) -> None:
    """Load weights strictly; InputError naming `path` if they are of another network, width or resolution."""
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise _misfit(path, weights, model, str(error)) from error


def _misfit(path: PathType, weights: Mapping[str, Tensor], model: nn.Module, why: str) -> InputError:
    """The sentence for weights that torch refused, from what it said."""
    sized: Any = type(model)
    detail = next((line.strip()[:120] for line in why.splitlines()[1:2]), why)
    if kind_of(weights) != kind_of(model.state_dict()):
        return _other_network(path, weights, sized, f" ({detail})")
    try:
        there, wanted = sized.shape_of(weights), sized.shape_of(model.state_dict())
    except (AttributeError, KeyError):
        return _other_network(path, weights, sized, f" ({detail})")
    except ValueError as error:
        return _other_layers(path, sized, str(error))
    if there == wanted:
        return _other_layers(path, sized, detail)
    return InputError(
        f"{path}: is of width {there.width:g} for faces of {there.resolution} pixels, and a {sized.__name__} of width "
        f"{wanted.width:g} for {wanted.resolution} was asked for; give the right file, or choose model and model.width"
    )


def _other_network(path: PathType, weights: Mapping[str, Tensor], wanted: type, detail: str = "") -> InputError:
    found = kind_of(weights)
    return InputError(f"{path}: does not fit {wanted.__name__}; it holds {found}{detail}; give the right file")


def kind_of(weights: Mapping[str, Tensor]) -> str:
    """Which network of the field weights are of, in words."""
    return next((name for key, name in KNOWN_NETWORKS.items() if key in weights), "some other network")


def _other_layers(path: PathType, wanted: type, detail: str) -> InputError:
    return InputError(
        f"{path}: is a {wanted.__name__} with other layers than are known here ({detail}); give one of this project or "
        "of the public release"
    )
