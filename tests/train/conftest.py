"""A data set of noise: enough to see what the trainers do with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from wav2lip.clips import ClipWriter


@pytest.fixture(scope="session")
def noise_data(tmp_path_factory) -> Path:
    """Three clips of 2 s, two to train on and one to validate on."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for n in range(3):
        with ClipWriter(root, f"speaker{n}/00000") as clip:
            for frame in range(50):
                clip.write_frame(frame, rng.integers(0, 255, (24, 20, 3), np.uint8))
            clip.write_audio([rng.normal(0, 0.1, 32_000).astype(np.float32)])
    lists = root / "filelists"
    lists.mkdir()
    (lists / "train.txt").write_text("speaker0/00000\nspeaker1/00000\n")
    (lists / "val.txt").write_text("speaker2/00000\n")
    return root


def config(name: str, *overrides: str) -> DictConfig:
    """The config of an entry point, as its command line would make it."""
    with initialize_config_module("configs", version_base="1.3"):
        return compose(name, list(overrides))
