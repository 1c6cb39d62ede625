"""Read the weights of a TorchScript archive without running its code.

torch.jit.load compiles the archive's code and runs its __setstate__ methods, which may write files. Here only the
record data.pkl is unpickled, with an allowlist of names, and the tensors are read from the records beside it.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wav2lip.errors import InputError
from wav2lip.types import PathType

MODULE_RECORD, CONSTANTS_RECORD = "data.pkl", "constants.pkl"
STORAGE_DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
# Raised by pickle, zipfile and torch for damaged or hostile archives.
UNREADABLE = (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, LookupError,
              AttributeError, TypeError, struct.error)  # fmt: skip


class ScriptObject:
    """A module of the archive: its attributes, without its methods."""

    attributes: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_torchscript(path: PathType) -> bool:
    """Return whether a file is an archive of torch.jit.save."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        records = {Path(name).name for name in archive.namelist() if name.count("/") == 1}
    return {MODULE_RECORD, CONSTANTS_RECORD} <= records


def read_torchscript_weights(path: PathType) -> dict[str, Tensor]:
    """Return the parameters and buffers of a TorchScript archive under the names of its state_dict, on the CPU.

    Raises: InputError if the archive is corrupt, contains no tensors, or names anything but modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            weights = dict(_tensors(_ModuleUnpickler(archive).load()))
    except UNREADABLE as error:
        raise InputError(
            f"{path}: a TorchScript archive without readable weights; download or save it again"
        ) from error
    if not weights:
        raise InputError(f"{path}: a TorchScript archive without weights, as torch.jit.freeze writes; save it unfrozen")
    return weights


def _tensors(module: object, prefix: str = "", parents: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and its submodules with dotted names."""
    if not isinstance(module, ScriptObject) or id(module) in parents:
        return
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.", (*parents, id(module)))


class _ModuleUnpickler(pickle.Unpickler):
    """Unpickler of data.pkl that constructs modules, tensors and plain values only."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        record = next(name for name in archive.namelist() if name.split("/")[1:] == [MODULE_RECORD])
        self._root = record.removesuffix(MODULE_RECORD)
        byteorder = f"{self._root}byteorder"
        if byteorder in archive.namelist() and archive.read(byteorder).decode() != sys.byteorder:
            raise ValueError("the byte order of another machine")
        self._file = archive.open(record)
        super().__init__(self._file)

    def find_class(self, module: str, name: str) -> Any:
        """Return a replacement for a name of the archive; UnpicklingError for any other."""
        if module == "__torch__" or module.startswith("__torch__."):
            return ScriptObject
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch.jit._pickle", "restore_type_tag"): _first_argument,
            **{("torch.jit._pickle", f"build_{kind}list"): _first_argument
               for kind in ("int", "double", "bool", "tensor", "complex")},
        }  # fmt: skip
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is neither a module nor a tensor")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a storage as a flat tensor. pid: ("storage", dtype, record, device, number of elements)."""
        _, dtype, key, _, count = pid
        content = bytearray(self._archive.read(f"{self._root}data/{key}"))
        return torch.frombuffer(content, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _first_argument(value: Any, *_: object) -> Any:
    return value
