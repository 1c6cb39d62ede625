"""Numbered checkpoints of a training, and what a resume takes from one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.optim import Optimizer

from train.trained import Trained, unwrapped
from wav2lip.checkpoints import Checkpoint, PathType, load_checkpoint, load_weights, save_checkpoint
from wav2lip.errors import InputError

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far training is."""

    step: int = 0  # optimizer steps taken
    samples: int = 0  # samples seen by all processes


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of a training go."""

    fabric: Fabric
    folder: Path
    trained: list[Trained]

    def path(self, trained: Trained, step: int) -> Path:
        """The file of a network after a step."""
        return self.folder / f"{trained.prefix}checkpoint_step{step:09d}.pth"

    def save(self, progress: Progress, epoch: int, step_state: dict[str, Any]) -> None:
        """Write every network with all that a resume needs, in the first process.

        Where an average of the weights is kept, it is what the file holds as its weights, since it is what was
        validated and what one wants to use; the network's own, which training goes on from, stand beside it.
        """
        extras = {
            "step_state": step_state,
            "samples": progress.samples,
            "rng": torch.get_rng_state(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        if self.fabric.is_global_zero:
            for trained in self.trained:
                own = unwrapped(trained.network).state_dict()
                averaged = {"own_weights": own, "ema_steps": trained.ema.steps} if trained.ema else {}
                save_checkpoint(
                    self.path(trained, progress.step),
                    Checkpoint(
                        state_dict=trained.ema.weights if trained.ema else own,
                        optimizer=trained.optimizer.state_dict(),
                        global_step=progress.step,
                        global_epoch=epoch,
                        extras=extras | averaged,
                    ),
                )
        self.fabric.barrier()


@dataclass(frozen=True)
class Resumed:
    """What a checkpoint says of the training that it is from."""

    step: int
    epoch: int
    extras: dict[str, Any]


def resume(path: PathType, trained: Trained, *, reset_optimizer: bool, stored_rates: bool) -> Resumed:
    """Take weights from a checkpoint, and the optimizer's state.

    reset_optimizer: the weights only, and a fresh optimizer, as fine-tuning from a public file wants.
    stored_rates: keep the file's learning rate and betas, as the release does, instead of the configured ones.
    Raises: InputError if the file is of another network or its optimizer of another shape.
    """
    checkpoint = load_checkpoint(path)
    network = unwrapped(trained.network)
    load_weights(network, checkpoint.state_dict, path)
    extras = checkpoint.extras
    if trained.ema is not None:
        trained.ema.load(network.state_dict(), 0 if reset_optimizer else int(extras.get("ema_steps", 0)))
    if reset_optimizer:
        return Resumed(0, 0, {})
    if "own_weights" in extras:
        load_weights(network, extras["own_weights"], path)
    if checkpoint.optimizer is None:
        log.warning("%s: has no optimizer state; it starts fresh", path)
    else:
        _load_optimizer(trained.optimizer, checkpoint.optimizer, path, stored_rates)
    return Resumed(checkpoint.global_step, checkpoint.global_epoch, extras)


def restore_randomness(fabric: Fabric, extras: dict[str, Any]) -> None:
    """Random numbers and the loss scale of 16-mixed go on where the checkpoint left them."""
    if "rng" in extras:
        torch.set_rng_state(extras["rng"])
    if extras.get("precision"):  # empty in other precisions
        fabric.strategy.precision.load_state_dict(extras["precision"])


def _load_optimizer(optimizer: Optimizer, state: dict[str, Any], path: PathType, stored_rates: bool) -> None:
    configured = [{key: group[key] for key in ("lr", "betas")} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: its optimizer does not fit ({error}); add reset_optimizer=true") from error
    if not stored_rates:
        for group, ours in zip(optimizer.param_groups, configured, strict=True):
            group.update(ours)
