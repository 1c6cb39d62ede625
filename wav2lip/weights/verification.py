"""Check files against the catalog, without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wav2lip.checkpoints import load_safely, require_checkpoint
from wav2lip.errors import InputError
from wav2lip.restoration.models import load_restorer
from wav2lip.weights.catalog import CATALOG, UNUSED_NETWORKS, Content, WeightsFile, key_shapes

Shapes = Mapping[str, tuple[int, ...]]


def verify_file(path: Path, file: WeightsFile) -> None:
    """Check that a file contains the networks of a catalog entry, whatever its name is.

    Raises: InputError with the first problem.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; get it from {file.url or file.page}")
    require_checkpoint(path)
    if not file.contents:
        load_restorer(path, torch.device("cpu"))
        return
    shapes = read_shapes(path)
    for content in file.contents:
        found = select(shapes, content)
        if found != key_shapes(content.network) and not (content.network in UNUSED_NETWORKS and not found):
            raise InputError(_explain(path, file, content, found, shapes))


def read_shapes(path: Path) -> dict[str, Shapes]:
    """Return the shapes of the tensors in a file by the key of their state_dict, "" for those at the top.

    Raises: InputError if the file is corrupt or not safe to read.
    """
    if require_checkpoint(path) == "safetensors":
        try:
            with safe_open(path, "pt") as tensors:
                return {"": {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: is not a complete safetensors file ({error}); download it again") from error
    content = load_safely(path)
    groups = {"": content} | content if isinstance(content, dict) else {}
    return {str(key): _shapes(value) for key, value in groups.items() if isinstance(value, dict)}


def _shapes(state: Mapping[object, object]) -> Shapes:
    return {
        str(name).removeprefix("module."): tuple(value.shape)
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def select(shapes: Mapping[str, Shapes], content: Content) -> Shapes:
    """Return the tensors of one network, without the prefix."""
    group = shapes.get(content.key, {})
    return {
        name.removeprefix(content.prefix): shape for name, shape in group.items() if name.startswith(content.prefix)
    }


def _explain(path: Path, file: WeightsFile, content: Content, found: Shapes, shapes: Mapping[str, Shapes]) -> str:
    """Return the sentence that says what a file contains instead of a network."""
    other = next((each for each in CATALOG if each.contents and _contains(shapes, each)), None)
    remedy = f"download it again from {file.url or file.page}"
    if other is not None:
        return f"{path}: has the content of {other.name}, not of {file.name}; {remedy}"
    if not found:
        return f"{path}: contains no network {content.network}; {remedy}"
    expected = key_shapes(content.network)
    name = min(found.items() ^ expected.items())[0]
    actual, right = (_describe(each.get(name)) for each in (found, expected))
    return f"{path}: {content.network} has {name} of shape {actual} instead of {right}; {remedy}"


def _contains(shapes: Mapping[str, Shapes], file: WeightsFile) -> bool:
    used = [content for content in file.contents if content.network not in UNUSED_NETWORKS]
    return all(select(shapes, content) == key_shapes(content.network) for content in used)


def _describe(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))
