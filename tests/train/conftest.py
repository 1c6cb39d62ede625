"""A data set of noise and an untrained expert, enough for tiny runs of the trainers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models import SyncNet
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import ClipWriter


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


@pytest.fixture
def noise_root(tmp_path):
    """Clips of noise images, with gaps, of several lengths, two of which are too short to use."""
    rng = np.random.default_rng(3)
    frames = [range(60), [*range(3, 30), *range(33, 70)], range(100), range(15), range(0, 80, 2), range(40)]
    for n, numbers in enumerate(frames):
        with ClipWriter(tmp_path, f"speaker/{n}") as clip:
            for number in numbers:
                clip.write_frame(number, cv2.resize(rng.integers(0, 255, (9, 8, 3), np.uint8), (120, 130)))
            clip.write_audio([rng.normal(0, 0.1, 50_000).astype(np.float32)])
    (tmp_path / "train.txt").write_text("".join(f"speaker/{n}\n" for n in (5, 0, 2, 1, 4, 3)))
    return tmp_path


@pytest.fixture(scope="session")
def expert(tmp_path_factory) -> Path:
    """A thin expert with random weights."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("expert") / "expert.pth"
    save_checkpoint(path, Checkpoint(SyncNet(width=0.125).state_dict()))
    return path
