"""The weights in the content of a checkpoint, wherever a trainer put them, under the names of their network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wav2lip.errors import InputError
from wav2lip.types import PathType

# Keys under which trainers keep weights, the most common first; a generator before what it was trained with.
WEIGHT_KEYS = (
    "state_dict", "model_state_dict", "model", "generator", "netG", "G", "net", "network", "params_ema", "params",
    "weights", "module", "model_state", "syncnet", "discriminator",
)  # fmt: skip
# Wrappers that put a prefix before all names: torch.compile, DataParallel, and modules that hold the network.
PREFIXES = (
    "_orig_mod.", "module.", "model.", "generator.", "net.", "network.", "netG.", "net_g.", "G.", "student.", "ema.",
    "wav2lip.", "syncnet.", "expert.", "discriminator.", "netD.",
)  # fmt: skip
GENERATOR_PREFIXES = ("generator.", "netG.", "net_g.", "G.")  # of the network to use beside a discriminator or expert
GENERATOR_NAME = re.compile(r"(net_?)?g(en|enerator)?(?![a-z])", re.IGNORECASE)  # key of a dict that is visited first
MAX_DEPTH = 4  # dicts in dicts


def find_state_dict(content: Mapping[Any, Any], path: PathType, layer: str | None = None) -> dict[str, Tensor]:
    """Return the weights of a network in the content of a file, without the prefixes of wrappers.

    path: for messages. layer: weight of the network to return if there are several; without it, the generator.
    Raises: InputError if there are none.
    """
    weights = _find_weights(content, MAX_DEPTH) or _find_layers(content, MAX_DEPTH)
    if weights is None:
        raise InputError(f"{path}: has no state_dict of tensors; give a checkpoint of a network")
    if not all(isinstance(name, str) for name in weights):
        raise InputError(f"{path}: names its weights by numbers, not by layers; save model.state_dict()")
    stripped = _strip_prefixes({name: value for name, value in weights.items() if isinstance(value, Tensor)})
    if layer is not None and layer not in stripped:
        stripped = _find_network(content, layer, MAX_DEPTH) or stripped
    for name, value in stripped.items():
        # A stride of 0 gives a few bytes any size, for which a network would take memory.
        if value.layout == torch.strided and value.nbytes > value.untyped_storage().nbytes():
            raise InputError(f"{path}: is damaged: {name} has less data than its shape; give another file")
    return stripped


def _find_weights(content: Mapping[Any, Any], depth: int) -> Mapping[Any, Any] | None:
    """Return the first dict of tensors under the keys for weights, in the order of these keys, else the content."""
    nested = [content[key] for key in WEIGHT_KEYS if isinstance(content.get(key), Mapping)]
    if not nested:
        return content if any(isinstance(value, Tensor) for value in content.values()) else None
    return next(filter(None, (_find_weights(value, depth - 1) for value in nested)), None) if depth else None


def _find_layers(content: Mapping[Any, Any], depth: int) -> Mapping[Any, Any] | None:
    """Return the first dict, under any key, that holds tensors with names of layers; an optimizer's have none.

    Dicts under the names of generators come first.
    """
    if any(isinstance(value, Tensor) and "." in str(name) for name, value in content.items()):
        return content
    keys = sorted(content, key=lambda key: not GENERATOR_NAME.match(str(key)))
    nested = [content[key] for key in keys if isinstance(content[key], Mapping)] if depth else []
    return next(filter(None, (_find_layers(value, depth - 1) for value in nested)), None)


def _find_network(content: Mapping[Any, Any], layer: str, depth: int) -> dict[str, Tensor] | None:
    """Return the first network, in any dict and under any prefix, that has a layer."""
    for name, value in content.items():
        if isinstance(value, Tensor) and f".{name}".endswith(f".{layer}"):
            prefix = name.removesuffix(layer)
            return {
                other.removeprefix(prefix): weights
                for other, weights in content.items()
                if isinstance(weights, Tensor) and str(other).startswith(prefix)
            }
    nested = [value for value in content.values() if isinstance(value, Mapping)] if depth else []
    return next(filter(None, (_find_network(value, layer, depth - 1) for value in nested)), None)


def _strip_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    for prefix in GENERATOR_PREFIXES:
        selected = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if selected:
            return _strip_prefixes(selected)
    return weights
