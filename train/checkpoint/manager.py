"""Save, find and restore the checkpoints of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from train.checkpoint.files import (
    BEST,
    LAST,
    last_complete_before,
    link_or_copy,
    list_numbered,
    numbered_name,
)
from train.checkpoint.model_state import random_state, restore_model, restore_random_state
from train.checkpoint.plain_state import parse_state, report_damage
from train.checkpoint.state import Counters, TrainState
from train.trainable import TrainableModel, unwrap
from wav2lip.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from wav2lip.errors import InputError
from wav2lip.faces.framing import KEY, FaceFraming
from wav2lip.types import PathType

log = logging.getLogger(__name__)


@dataclass
class CheckpointManager:
    """The checkpoints of a run: one file per model and step; the first model's file restores the run."""

    fabric: Fabric
    state: TrainState
    models: list[TrainableModel]
    folder: Path
    keep_last_n: int | None = None  # numbered checkpoints; None: all
    epoch_samples: int = 1  # samples that count as an epoch
    keep_lr: bool = False  # resume with the learning rate of the file, as upstream does
    framing: FaceFraming = field(default_factory=FaceFraming)  # of the training data
    saved_step: int | None = None  # step of the last numbered checkpoint of this process

    def path(self, model: TrainableModel, step: int) -> Path:
        """Return the numbered file of a model."""
        return self.folder / numbered_name(model.prefix, step)

    def save(self, *, numbered: bool = True) -> None:
        """Write the complete state of every model; best.pth too if the last validation was the best. Collective.

        numbered: write the numbered file of this step and last.pth, and remove numbered files beyond `keep_last_n`.
        All names of a model are one file where the file system has hard links. With averaged weights, these are
        the weights of the file, because validation scored them; the model's own weights are in the extras.
        """
        run_state = self.state.state_dict()
        if self.fabric.is_global_zero:
            run_state["saved_ns"] = time.time_ns()  # equal in the files of all models: they belong together
            for model in self.models:
                names = [numbered_name(model.prefix, self.state.step), model.prefix + LAST] if numbered else []
                self._write(model, names + [model.prefix + BEST] * self.state.best_pending, run_state)
            if numbered:
                self._prune()
        self.fabric.barrier()
        self.state.best_pending = False
        if numbered:
            self.saved_step = self.state.step

    def _write(self, model: TrainableModel, names: list[str], run_state: dict[str, Any]) -> None:
        own = unwrap(model.network).state_dict()
        averaged = {"own_weights": own, "ema_steps": model.ema.steps} if model.ema else {}
        first, *copies = [self.folder / name for name in names]
        checkpoint = Checkpoint(
            state_dict=model.ema.weights if model.ema else own,
            optimizer=model.optimizer.state_dict(),
            global_step=self.state.step,
            global_epoch=self.state.samples // self.epoch_samples,
            extras=run_state | averaged | random_state(self.fabric) | {KEY: self.framing.to_json()},
        )
        save_checkpoint(first, checkpoint)
        for copy in copies:
            link_or_copy(first, copy)

    def _prune(self) -> None:
        """Remove old numbered files; leave files of later steps, of another run."""
        if self.keep_last_n is None:
            return
        for model in self.models:
            saved = [path for step, path in list_numbered(self.folder, model.prefix) if step <= self.state.step]
            for path in saved[self.keep_last_n :]:
                path.unlink(missing_ok=True)

    def latest(self, is_allowed: Callable[[int], bool] = lambda _step: True) -> list[Checkpoint] | None:
        """Return the newest complete checkpoint of every model, the same in all processes. Collective.

        is_allowed: whether the checkpoints of a step may be used.
        """
        loaded = self._load_latest(is_allowed) if self.fabric.is_global_zero else None
        step = self.fabric.broadcast(loaded[0].global_step if loaded else None)
        return None if step is None else loaded or self._load(step)

    def _load_latest(self, is_allowed: Callable[[int], bool]) -> list[Checkpoint] | None:
        for step, _ in list_numbered(self.folder, self.models[0].prefix):
            if is_allowed(step):
                try:
                    return self._load(step)
                except InputError as error:
                    log.warning("skipped checkpoint: %s", error)
        return None

    def _load(self, step: int) -> list[Checkpoint]:
        paths = [self.path(model, step) for model in self.models]
        loaded = [load_checkpoint(path) for path in paths]
        moments = [str(checkpoint.extras.get("saved_ns")) for checkpoint in loaded]
        if len(set(moments)) > 1:
            raise InputError(f"{' and '.join(map(str, paths))}: saved at different moments; remove one of them")
        return loaded

    def resume(self) -> bool:
        """Restore all models and the run from the newest complete checkpoint; return False if there is none.

        Steps after that of last.pth are skipped: an earlier run left them in this folder.
        """
        last_step = self._last_step()
        loaded = self.latest(lambda step: last_step is None or step <= last_step)
        if loaded is None:
            log.info("no complete checkpoint in %s yet; starting from the beginning", self.folder)
            return False
        for model, checkpoint in zip(self.models, loaded, strict=True):
            self._restore(model, checkpoint, self.path(model, checkpoint.global_step))
        log.info("resuming from %s", self.path(self.models[0], self.state.step))
        return True

    def _last_step(self) -> int | None:
        last = self.folder / (self.models[0].prefix + LAST)
        if not last.is_file():
            return None
        try:
            return load_checkpoint(last).global_step
        except InputError as error:
            log.warning("skipped checkpoint: %s", error)
            return None

    def restore(self, model: TrainableModel, path: PathType, *, reset_optimizer: bool = False) -> None:
        """Restore a model from a file; the first model restores the run too.

        reset_optimizer: load only the weights and begin at step 0 with a fresh optimizer.
        Raises: InputError if the file is corrupt, naming the complete one before it, or holds another network.
        """
        try:
            checkpoint = load_checkpoint(path)
        except InputError as error:
            before = last_complete_before(Path(path))
            hint = f"; the last complete checkpoint before it is {before}" if before else ""
            raise InputError(f"{error}{hint}") from error
        self._restore(model, checkpoint, path, reset_optimizer)

    def _restore(
        self, model: TrainableModel, checkpoint: Checkpoint, path: PathType, reset_optimizer: bool = False
    ) -> None:
        restore_model(model, checkpoint, path, reset_optimizer=reset_optimizer, keep_lr=self.keep_lr)
        extras = {} if reset_optimizer else checkpoint.extras
        with report_damage(path):
            if self.keep_lr:  # the rate in the file includes the factor of rollbacks
                factors = parse_state(Counters, extras).lr_factors
                model.scale_learning_rates(1 / factors.get(model.prefix, 1.0))
            if model is self.models[0]:
                step, epoch = (0, 0) if reset_optimizer else (checkpoint.global_step, checkpoint.global_epoch)
                self.state.load_state_dict(extras, step, samples=epoch * self.epoch_samples)
                restore_random_state(self.fabric, extras)

    def rollback(self, checkpoints: list[Checkpoint], lr_factors: Mapping[str, float]) -> None:
        """Restore weights, averages and optimizers, not the step, so that data and curves continue.

        The result depends only on files and step, so a run that is killed afterwards resumes with the same state.
        checkpoints: one for each model, as `latest` returns them.
        lr_factors: by model prefix, to multiply the learning rate by from now on.
        """
        for model, checkpoint in zip(self.models, checkpoints, strict=True):
            restore_model(model, checkpoint, self.path(model, checkpoint.global_step))
            factor = lr_factors.get(model.prefix, 1.0)
            model.scale_learning_rates(factor)  # a file saved at this step already holds the new rate
        for prefix, factor in lr_factors.items():
            self.state.lr_factors[prefix] = self.state.lr_factors.get(prefix, 1.0) * factor
        self.state.means.clear()
        self.state.best_pending = False
