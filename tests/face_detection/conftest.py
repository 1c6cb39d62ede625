"""Fixtures of the detectors: an image with a face, and environments without weights or packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture
def no_weights(tmp_path, monkeypatch) -> Path:
    """A temporary working directory and torch hub folder, both empty."""
    hub = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.hub.set_dir(hub)


@pytest.fixture
def no_mtcnn(monkeypatch) -> None:
    """The package `mtcnn` is not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mtcnn" else find_spec(name))


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) uint8 RGB: a frontal face at about x 178-272, y 70-189."""
    data = pytest.importorskip("skimage.data")
    return np.asarray(data.astronaut())
