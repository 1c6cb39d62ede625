"""TorchScript networks that the user supplies.

An archive contains programs, some of which run while it is loaded. TorchScript has operations that write files, so the
text of the programs is read first, and only arithmetic is accepted.
"""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wav2lip.errors import InputError
from wav2lip.types import PathType


def load_torchscript(path: PathType, flag: str, device: torch.device | str = "cpu") -> nn.Module:
    """Load a network saved by torch.jit.save, in eval mode.

    flag: the option that names the file.
    Raises: InputError if the file is missing, not TorchScript, or has programs that do more than arithmetic.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give {flag} a network saved by torch.jit.save")
    try:
        network: Any = torch.jit.load(_read_checked_archive(path), map_location="cpu")
    except (OSError, RecursionError, RuntimeError, SyntaxError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a TorchScript network; save one with torch.jit.save for {flag}") from error
    return network.to(device).eval()


def _read_checked_archive(path: PathType) -> io.BytesIO:
    """Return an archive of the records that were checked, so that no other reading of the file can be loaded.

    Raises: InputError if a program does more than arithmetic; OSError, ValueError or BadZipFile for another file.
    """
    checked = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(checked, "w") as copy:
        names = [name for name in archive.namelist() if not name.endswith(".debug_pkl")]
        if len(set(names)) != len(names):
            raise zipfile.BadZipFile("two records of one name")
        for name in names:
            content = archive.read(name)
            for operation in _find_forbidden(name, content):
                raise InputError(
                    f"{path}: its program uses {operation}, which is not arithmetic, so it could change files; use a "
                    "network from someone you trust, saved without it"
                )
            copy.writestr(name, content)
    checked.seek(0)
    return checked


def _find_forbidden(name: str, content: bytes) -> Iterator[str]:
    """Yield operations of a record that do more than arithmetic."""
    if name.endswith(".pkl") and b"torch.classes" in content:
        yield "a class of C++"
    if not name.endswith(".py"):
        return
    for node in ast.walk(ast.parse(content)):
        names = _dotted_name(node)
        if names[:1] in (["torch"], ["ops"]) and len(names) == (2 if names[0] == "torch" else 3):
            namespace = "aten" if names[0] == "torch" else names[1]
            if not _is_arithmetic(namespace, names[-1]):
                yield ".".join(names)
        elif names[:3] == ["__torch__", "torch", "classes"]:
            yield "a class of C++"
        elif isinstance(node, ast.Attribute) and _writes_files(node.attr):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _writes_files(node.value):
            yield node.value  # getattr(value, "save")


def _dotted_name(node: ast.AST) -> list[str]:
    """Return the names of an expression a.b.c; empty for another expression."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def _is_arithmetic(namespace: str, name: str) -> bool:
    schemas = _schemas().get(f"{namespace}::{name}", [])
    return namespace in ("aten", "prim") and bool(schemas) and "Python" not in name and not _writes_files(name)


def _writes_files(name: str) -> bool:
    """Return True for operations of TorchScript that take the name of a file: save and from_file."""
    return any("filename" in schema for schema in _schemas().get(f"aten::{name}", []))


@cache
def _schemas() -> dict[str, list[str]]:
    """Return the signatures of all operations by name."""
    schemas: dict[str, list[str]] = {}
    for schema in torch._C._jit_get_all_schemas():
        schemas.setdefault(schema.name, []).append(str(schema))
    return schemas


def run_network(network: nn.Module, images: Tensor, flag: str, shape: str, dims: int) -> Tensor:
    """Return the output of a user's network, (N, ...) with `dims` dimensions, as float32.

    Raises: InputError if the network rejects the images, or its output has another shape.
    """
    try:
        output = network(images)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{flag}: the network must accept images {tuple(images.shape)} ({reason})") from error
    if not isinstance(output, Tensor) or output.dim() != dims or len(output) != len(images):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"{flag}: the network's output for {tuple(images.shape)} must be {shape}, got {got}")
    return output.float()
