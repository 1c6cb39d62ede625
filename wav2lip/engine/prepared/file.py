"""File format of prepared faces: safetensors with a JSON header, memory-mapped, checked by content, without pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from wav2lip.errors import InputError, file_error
from wav2lip.files import write_atomically
from wav2lip.types import PathType

FORMAT = "wav2lip-toolkit prepared face"
VERSION = "1"
SUFFIX = ".w2l"
DTYPES = {"uint8": "U8", "int32": "I32", "float32": "F32"}  # names of NumPy and safetensors
LENGTH_BYTES, HEADER_ALIGNMENT = 8, 8  # layout of safetensors
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class PreparedFile:
    """Content of a file."""

    engine: str  # name of the engine that prepared it
    arrays: Mapping[str, np.ndarray]  # memory-mapped and read-only after reading
    settings: dict[str, Any]  # plain values
    note: str  # license and consent


def is_prepared(path: PathType) -> bool:
    """Return True if a file is a prepared face, of any version, complete or not."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(512)
    except OSError:  # reported when the file is used
        return False
    return FORMAT.encode() in head


def write_prepared(path: PathType, face: PreparedFile) -> None:
    """Write a file atomically. Raises: InputError if it cannot be written."""
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path}: must end in {SUFFIX}; choose another name")
    arrays = {name: np.ascontiguousarray(values) for name, values in face.arrays.items()}
    metadata = {
        "format": FORMAT, "version": VERSION, "engine": face.engine, "settings": json.dumps(face.settings),
        "note": face.note, "sha256": _hash(arrays),
    }  # fmt: skip
    try:
        write_atomically(path, lambda partial: _write(partial, arrays, metadata))
    except OSError as error:
        raise file_error(error, path) from error


def read_prepared(path: PathType, engine: str) -> PreparedFile:
    """Read a file. Raises: InputError if it is damaged, of another version or for another engine."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path}: is not a prepared face; write one with python -m wav2lip.prepare")
        if metadata.get("version") != VERSION:
            raise InputError(f"{path}: has version {metadata.get('version')} instead of {VERSION}; prepare it again")
        arrays = _map(Path(path))
        settings = json.loads(metadata["settings"])
        is_intact = metadata["sha256"] == _hash(arrays) and isinstance(settings, dict)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); prepare it again") from error
    if not is_intact:
        raise InputError(f"{path}: is damaged, its content does not match its checksum; prepare it again")
    if metadata.get("engine") != engine:
        raise InputError(f"{path}: was prepared for the engine {metadata.get('engine')}; prepare it for {engine}")
    return PreparedFile(engine, arrays, settings, metadata.get("note", ""))


def _write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write the layout of safetensors without a copy of the arrays in memory."""
    header: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    for name, values in sorted(arrays.items(), key=lambda item: -item[1].itemsize):  # aligned, as in safetensors
        offsets = position, position + values.nbytes
        header[name] = {"dtype": DTYPES[values.dtype.name], "shape": values.shape, "data_offsets": offsets}
        position = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for name in header:
            if name in arrays:
                for block in _blocks(arrays[name]):
                    file.write(block)


def _map(path: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a safetensors file, whose header `safe_open` has checked, into memory."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    names = {code: name for name, code in DTYPES.items()}
    data = LENGTH_BYTES + length
    return {
        name: np.memmap(path, names[entry["dtype"]], "r", data + entry["data_offsets"][0], tuple(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _blocks(values: np.ndarray) -> Iterator[memoryview]:
    data = memoryview(values.data).cast("B")
    for first in range(0, len(data), BLOCK_BYTES):
        yield data[first : first + BLOCK_BYTES]


def _hash(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        for block in _blocks(arrays[name]):
            digest.update(block)
    return digest.hexdigest()
