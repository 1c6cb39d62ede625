"""The checkpoints of a training: numbered ones, `last.pth` and `best.pth`."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from train.trained import Trained, unwrapped
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

NUMBERED = re.compile(r"checkpoint_step(\d{9,})\.pth")
LAST, BEST = "last.pth", "best.pth"


@dataclass
class Progress:
    """How far training is."""

    step: int = 0  # optimizer steps taken
    samples: int = 0  # samples seen by all processes


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of a training go, and how many of them stay."""

    fabric: Fabric
    folder: Path
    trained: list[Trained]
    keep: int | None = None  # numbered ones that stay; None: all

    def path(self, trained: Trained, step: int) -> Path:
        """The numbered file of a network after a step."""
        return self.folder / f"{trained.prefix}checkpoint_step{step:09d}.pth"

    def save(
        self, progress: Progress, epoch: int, step_state: dict[str, Any], *, numbered: bool = True, best: bool = False
    ) -> None:
        """Write every network with all that a resume needs, in the first process.

        numbered: as the numbered file of this step and as last.pth; older numbered ones than `keep` says go.
        best: as best.pth. All names of a network are one file where the file system has hard links.

        Where an average of the weights is kept, it is what the file holds as its weights, since it is what was
        validated and what one wants to use; the network's own, which training goes on from, stand beside it.
        """
        if self.fabric.is_global_zero:
            extras = {
                "step_state": step_state,
                "samples": progress.samples,
                "saved": time.time_ns(),  # the same in the files of all networks: by it those of one moment are told
            }
            for trained in self.trained:
                names = [self.path(trained, progress.step).name, trained.prefix + LAST] if numbered else []
                names += [trained.prefix + BEST] if best else []
                self._write(trained, names, progress.step, epoch, extras)
            if numbered:
                self._prune(progress.step)
        self.fabric.barrier()

    def _write(self, trained: Trained, names: list[str], step: int, epoch: int, extras: dict[str, Any]) -> None:
        own = unwrapped(trained.network).state_dict()
        averaged = {"own_weights": own, "ema_steps": trained.ema.steps} if trained.ema else {}
        first, *others = [self.folder / name for name in names]
        save_checkpoint(
            first,
            Checkpoint(
                state_dict=trained.ema.weights if trained.ema else own,
                optimizer=trained.optimizer.state_dict(),
                global_step=step,
                global_epoch=epoch,
                extras=extras | averaged | random_state(self.fabric),
            ),
        )
        for other in others:
            same_file(first, other)

    def _prune(self, step: int) -> None:
        """Remove numbered files that are older than the newest `keep`, and what killed runs left half-written.

        Files of later steps, which another run left here, are neither counted nor touched.
        """
        for partial in self.folder.glob(".*.pth.*.partial"):
            partial.unlink(missing_ok=True)
        if self.keep is None:
            return
        for trained in self.trained:
            older = [path for other, path in numbered_files(self.folder, trained.prefix) if other <= step]
            for path in older[self.keep :]:
                path.unlink(missing_ok=True)


def numbered_files(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    """Step and path of the numbered checkpoints of a network, the newest first."""
    paths = folder.glob(f"{prefix}checkpoint_step*.pth")
    found = [(NUMBERED.fullmatch(path.name.removeprefix(prefix)), path) for path in paths]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def same_file(path: Path, name: Path) -> None:
    """Give a file another name, which may be another file's until then; a copy where there are no hard links.

    Killed at any moment, the name is the old file's or the new one's.
    Raises: InputError if a copy does not fit on the disk.
    """
    partial = name.with_name(f".{name.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:  # FAT, some network drives
            shutil.copyfile(path, partial)
        os.replace(partial, name)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{name}: could not be written ({error}); free some space or choose another folder") from error


def random_state(fabric: Fabric) -> dict[str, Any]:
    """Random numbers and the loss scale of 16-mixed, as they go into a checkpoint."""
    return {"rng": torch.get_rng_state(), "precision": fabric.strategy.precision.state_dict()}


def restore_randomness(fabric: Fabric, extras: dict[str, Any]) -> None:
    """Random numbers and the loss scale of 16-mixed go on where the checkpoint left them."""
    if "rng" in extras:
        torch.set_rng_state(extras["rng"])
    if extras.get("precision"):  # empty in other precisions
        fabric.strategy.precision.load_state_dict(extras["precision"])
