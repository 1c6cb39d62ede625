"""Goldens and deterministic weights of SadTalker's networks; `rules` are those of the goldens' README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.sadtalker import build
from tests.conftest import SHARED_MEDIA
from tests.helpers.goldens import deterministic_weights, tensor, unit

GOLDENS = Path(__file__).parents[1] / "goldens" / "sadtalker"
GAIN = 1.4
GAINS = {"landmark_fan98": 0.7}


def golden(name: str) -> Mapping[str, np.ndarray]:
    """Load one golden file, or `e2e` for the golden of the complete pipeline, which shows a real person."""
    path = SHARED_MEDIA.parent / "sadtalker" / "goldens_e2e.npz" if name == "e2e" else GOLDENS / f"{name}.npz"
    if name == "e2e" and not path.is_file():
        pytest.skip(f"no golden of the complete pipeline at {path}")
    with np.load(path) as arrays:
        return dict(arrays)


@cache
def published_shapes() -> dict[str, dict[str, list[int]]]:
    """Load the keys and shapes of all networks."""
    networks = json.loads((GOLDENS / "state_dicts.json").read_text())
    return {name: shapes for name, shapes in networks.items() if name != "_info"}


def weights(name: str, gain: float | None = None) -> dict[str, torch.Tensor]:
    """Compute the deterministic state_dict of a network; gain replaces that of the network's golden."""
    with torch.device("meta"):
        network = build(name)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    state = deterministic_weights(shapes, gain or GAINS.get(name, GAIN))
    position = {key: k for k, key in enumerate(sorted(shapes))}
    if "down.weight" in state:  # fixed, not drawn
        offsets = np.arange(13) - 6.0
        line = np.exp(-(offsets**2) / (2 * 1.5**2))
        kernel = np.outer(line, line) / line.sum() ** 2
        state["down.weight"] = torch.from_numpy(np.broadcast_to(kernel, (3, 1, 13, 13)).astype(np.float32))
    for key in [key for key in state if key.endswith("weight_u")]:
        prefix = key.removesuffix("weight_u")
        rows, columns = shapes[key][0], shapes[prefix + "weight_v"][0]
        u = 2 * unit(position[key], rows) - 1
        u /= np.linalg.norm(u)
        v = _weight_orig(position[prefix + "weight_orig"], rows, columns, gain or GAIN).T @ u
        state[key] = torch.from_numpy(u.astype(np.float32))
        state[prefix + "weight_v"] = torch.from_numpy((v / np.linalg.norm(v)).astype(np.float32))
    return state


def _weight_orig(position: int, rows: int, columns: int, gain: float) -> np.ndarray:
    """Compute the weight before spectral norm in float64."""
    v = (2 * unit(position, rows * columns) - 1).reshape(rows, columns)
    return (v - v.mean(axis=1, keepdims=True)) * gain * np.sqrt(3 / columns)


def load(name: str, gain: float | None = None) -> nn.Module:
    """Build a network with its deterministic weights."""
    with torch.device("meta"):
        network = build(name)
    network.load_state_dict(weights(name, gain), assign=True)
    return network


def golden_picture() -> torch.Tensor:
    """Compute the picture of the key-point and generator goldens, (1, 3, 256, 256) float32 in [0, 1]."""
    rows, columns, channels = np.mgrid[:256, :256, :3]
    pattern = (3 * rows + 2 * columns + 70 * channels) % 256 / 255
    noise = tensor(200030, (1, 3, 256, 256)).double()
    return (0.5 * torch.from_numpy(pattern).movedim(-1, 0)[None] + 0.5 * noise).float()
