"""Spectral normalization of convolutions (Miyato et al. 2018), in the checkpoint keys of the plain network.

A state_dict has the plain keys, with the weights before normalization, and two keys more for each convolution:
NAME.weight_u and NAME.weight_v, the singular vectors of its largest singular value. So a file of either network loads
into the other: a plain network takes the normalized weights, a normalized one computes the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

# The names of torch's parametrization, and those of the files.
FILE_NAMES = {
    ".parametrizations.weight.original": ".weight",
    ".parametrizations.weight.0._u": ".weight_u",
    ".parametrizations.weight.0._v": ".weight_v",
}


def apply_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of all convolutions of a network by their largest singular values, in place."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            parametrizations.spectral_norm(module)
    network.register_state_dict_post_hook(_rename_for_file)


def accept_both_forms(network: nn.Module) -> None:
    """Make a network load the weights of the plain and of the normalized form, whichever it is itself."""
    network.register_load_state_dict_pre_hook(_adapt_weights)


def _rename_for_file(_network: nn.Module, state_dict: dict[str, Tensor], _prefix: str, _metadata: Any) -> None:
    """Replace torch's names by those of the files."""
    renamed = {_rename(name, FILE_NAMES): value for name, value in state_dict.items()}
    state_dict.clear()
    state_dict.update(renamed)


def _rename(name: str, endings: Mapping[str, str]) -> str:
    ending = next((ending for ending in endings if name.endswith(ending)), "")
    return name.removesuffix(ending) + endings[ending] if ending else name


def _adapt_weights(network: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Convert the weights of a file to the form of the network."""
    for name, module in network.named_modules():
        key = f"{prefix}{name}.weight"
        if not isinstance(module, nn.Conv2d) or key not in state_dict:
            continue
        weight = state_dict.pop(key)
        u, v = (state_dict.pop(f"{key}_{side}", None) for side in "uv")
        if parametrize.is_parametrized(module, "weight"):
            if u is None or v is None:
                u, v = _leading_vectors(weight)
            for ending, value in zip(FILE_NAMES, (weight, u, v), strict=True):
                state_dict[f"{prefix}{name}{ending}"] = value
        elif u is not None and v is not None:
            state_dict[key] = weight / (u @ weight.flatten(1) @ v)
        else:
            state_dict[key] = weight


def _leading_vectors(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left (O,) and right (I,) singular vectors of the largest singular value of a weight (O, I...)."""
    left, _, right = torch.linalg.svd(weight.detach().flatten(1).float(), full_matrices=False)
    return left[:, 0], right[0]
