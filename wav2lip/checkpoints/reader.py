"""Read a checkpoint file without running code from it, after its kind is recognized by its first bytes."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wav2lip.checkpoints.file_kind import require_checkpoint
from wav2lip.checkpoints.torchscript import UNREADABLE, is_torchscript, read_torchscript_weights
from wav2lip.errors import InputError, file_error
from wav2lip.types import PathType

READ_CHUNK_BYTES = 1 << 20
UNSAFE_NAME = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message

# Numbers that trainers with NumPy leave beside weights. Their constructors take plain values and run no code.
NUMPY_SCALAR: Any = np.float64(0).__reduce__()[0]
NUMPY_GLOBALS: list[Any] = [
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),  # the name in NumPy 1
    (NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32",
                                        "float64")),
]  # fmt: skip


def load_safely(path: PathType) -> object:
    """Load a file written by torch.save, torch.jit.save or safetensors to the CPU, without running code from it.

    Raises: InputError if the file is missing, of another kind, corrupt, or contains anything but weights and plain
        values.
    """
    path = Path(path)
    try:
        kind = require_checkpoint(path)
        if kind == "safetensors":
            return _load_safetensors(path)
        _verify_checksums(path)
        if is_torchscript(path):
            return {"state_dict": read_torchscript_weights(path)}
        with torch.serialization.safe_globals(NUMPY_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = UNSAFE_NAME.search(str(error))
        if name is None:
            raise InputError(f"{path}: is a pickle that torch.save did not write; give a checkpoint") from error
        raise InputError(
            f"{path}: contains more than weights ({name[1]}), which is not safe to load; save it again where it was "
            "trained with torch.save({'state_dict': model.state_dict()}, FILE)"
        ) from error
    except OSError as error:
        raise file_error(error, path) from error
    except UNREADABLE as error:  # raised by torch for damaged files
        reason = str(error).splitlines()[0] if str(error) else "truncated"
        raise InputError(f"{path}: is corrupt ({reason}); copy or download it again") from error


def _load_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {"state_dict": load_file(path)}
    except SafetensorError as error:
        raise InputError(f"{path}: is not a complete safetensors file ({error}); download it again") from error


def _verify_checksums(path: Path) -> None:
    """Verify the checksums of a zip file's records, which torch.load does not do; 0.15 s for 440 MB.

    Other formats have no checksums, and neither has a zip file written with them disabled (set_crc32_options).
    Raises: zipfile.BadZipFile on a mismatch.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.CRC:
                with archive.open(record) as data:
                    while data.read(READ_CHUNK_BYTES):
                        pass
