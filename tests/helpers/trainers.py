"""Run the trainers small through their entry points, and read what they write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import train.syncnet
import train.wav2lip
import train.wav2lip_gan
from wav2lip.checkpoints import Checkpoint, load_checkpoint

TRAINERS = {"syncnet": train.syncnet.run, "wav2lip": train.wav2lip.run, "wav2lip_gan": train.wav2lip_gan.run}


def compose_config(name: str, *overrides: str) -> DictConfig:
    """Compose the config of an entry point as its command line does."""
    with initialize_config_module("configs", version_base="1.3"):
        return compose(name, list(overrides))


def tiny_overrides(trainer: str, data: Path, folder: Path, expert: Path | None) -> list[str]:
    """Return the overrides of a run of a few steps, without preview videos."""
    common = [f"data_root={data}", f"checkpoint_dir={folder}", "debug=tiny"]
    return common + ([f"syncnet_checkpoint_path={expert}", "preview_seconds=0"] if trainer != "syncnet" else [])


def exit_code(trainer: str, data: Path, folder: Path, expert: Path | None, *overrides: str) -> int:
    """Run a trainer small; return its exit code."""
    return TRAINERS[trainer](compose_config(trainer, *tiny_overrides(trainer, data, folder, expert), *overrides))


def run_trainer(trainer: str, data: Path, folder: Path, expert: Path | None, *overrides: str) -> Path:
    """Run a trainer small to its end; return the folder of its checkpoints."""
    assert exit_code(trainer, data, folder, expert, *overrides) == 0
    return folder


def load_step(folder: Path, step: int, prefix: str = "") -> Checkpoint:
    """Load the numbered checkpoint of a step."""
    return load_checkpoint(folder / f"{prefix}checkpoint_step{step:09d}.pth")


def open_log(folder: Path) -> EventAccumulator:
    """Open the TensorBoard log of a run."""
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def is_equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Return whether two state_dicts are equal bit for bit."""
    return all(torch.equal(a[key], b[key]) for key in a)


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read all curves of a run as steps and values, without those that depend on the machine."""
    log = open_log(folder)
    tags = set(log.Tags()["scalars"]) - {"train/samples_per_second", "train/data_wait"}
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in sorted(tags)}
