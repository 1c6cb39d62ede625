"""Golden arrays, and the counter-based random numbers of their inputs and weights.

32-bit integer hashing gives u(k, i) in [0, 1), from which all tensors and weights are computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

GOLDENS = Path(__file__).parents[1] / "goldens"
GAIN = {"syncnet": 1.4, "generator": 1.4, "quality_disc": 1.8, "s3fd": 1.2, "syncnet_v2": 1.2}
NORM_SCALE = {"conv3_3_norm.weight": 10, "conv4_3_norm.weight": 8, "conv5_3_norm.weight": 5}


def golden(name: str) -> Mapping[str, np.ndarray]:
    """Load one golden file as a mapping from name to array."""
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        return dict(arrays)


def state_dict_shapes(network: str) -> dict[str, list[int]]:
    """Load the keys and shapes of a published checkpoint, in registration order."""
    return json.loads((GOLDENS / "state_dicts.json").read_text())[network]


def unit(k: int, count: int) -> np.ndarray:
    """Compute u(k, 0..count-1): float64 in [0, 1)."""
    mask = np.uint64(0xFFFFFFFF)
    x = (np.arange(count, dtype=np.uint64) + np.uint64((0x9E3779B9 * (k + 1)) & 0xFFFFFFFF)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x85EBCA6B)) & mask
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(0xC2B2AE35)) & mask
    x ^= x >> np.uint64(16)
    return x.astype(np.float64) / 4294967296.0


def tensor(k: int, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    """Compute the input tensor with id k: float32, uniform in [low, high)."""
    values = low + (high - low) * unit(k, int(np.prod(shape)))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def masked(faces: torch.Tensor) -> torch.Tensor:
    """Set the lower half of the target face (channels 0-2) of a generator input to 0."""
    faces = faces.clone()
    faces[:, :3, ..., 48:, :] = 0
    return faces


def weights(network: str) -> dict[str, torch.Tensor]:
    """Compute the deterministic state_dict of a network, keys in registration order."""
    return deterministic_weights(state_dict_shapes(network), GAIN[network])


def deterministic_weights(shapes: Mapping[str, list[int]], gain: float) -> dict[str, torch.Tensor]:
    """Compute a state_dict from its keys and shapes."""
    position = {key: k for k, key in enumerate(sorted(shapes))}
    return {key: _weight(gain, key, tuple(shape), position[key]) for key, shape in shapes.items()}


def _weight(gain: float, key: str, shape: tuple[int, ...], k: int) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = unit(k, int(np.prod(shape)))
    v = 2 * u - 1
    if key.endswith("running_mean") or key.endswith("bias"):
        values = 0.1 * v
    elif key.endswith("running_var"):
        values = 1 + 0.5 * u
    elif len(shape) == 1:
        values = (1 + 0.2 * v) * NORM_SCALE.get(key, 1)
    else:
        rows = v.reshape(shape[0], -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        values = rows * gain * np.sqrt(3 / rows.shape[1])
    return torch.from_numpy(values.reshape(shape).astype(np.float32))
