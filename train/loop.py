"""The training loop of all trainers: step, average, validate, save. It depends on no particular loss or callback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from lightning_fabric import Fabric
from torch import Tensor, nn

from train.callbacks.base import AbortRun, Callback, Stop
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.state import State, TrainState
from train.trainable import averaged_weights
from train.validation.runner import Validator

log = logging.getLogger(__name__)


class Step(Protocol):
    """Losses and gradients of a trainer; see train.steps.syncnet and train.steps.generator."""

    expert: nn.Module  # scores the sync of lips and audio
    second_expert: nn.Module | None  # does the same without being trained against
    monitorable: Mapping[str, str]  # validation scores by name, with the direction in which each is better

    def set_step(self, step: int) -> None: ...
    def backward(self, batch: Any, scale: float) -> dict[str, Tensor]: ...
    def forward(self, batch: Any) -> Tensor | tuple[Tensor, ...]: ...
    def validate(self, batches: Any) -> dict[str, float]: ...
    def expert_inputs(self, batch: Any) -> tuple[Tensor, Tensor]: ...
    def on_validation(self, scores: dict[str, float]) -> None: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """Intervals and limits of a run, in optimizer steps."""

    max_steps: int | None = None  # None: until max_epochs or an interrupt
    max_epochs: int = 200_000_000_000_000_000
    epoch_samples: int = 1  # samples that count as an epoch
    eval_interval: int | None = None
    checkpoint_interval: int | None = None
    log_interval: int = 50
    validate_first: bool = False  # validate after step 1 too
    save_first: bool = False  # save after step 1 too
    diagnosis_steps: Collection[int] = ()  # further validations that are reported and change nothing in the run

    def stop(self, state: TrainState) -> Stop | None:
        """Return a stop request at the last step or epoch."""
        if self.max_steps is not None and state.step >= self.max_steps:
            return Stop(f"step {state.step} reached max_steps={self.max_steps}")
        if (epoch := state.samples // self.epoch_samples) >= self.max_epochs:
            return Stop(f"epoch {epoch} reached nepochs={self.max_epochs}")
        return None

    def is_validation(self, step: int) -> bool:
        """Return whether to validate after a step."""
        return _is_due(step, self.eval_interval, self.validate_first)

    def is_checkpoint(self, step: int) -> bool:
        """Return whether to save after a step."""
        return _is_due(step, self.checkpoint_interval, self.save_first)


def _is_due(step: int, interval: int | None, first: bool) -> bool:
    return (interval is not None and step % interval == 0) or (first and step == 1)


@dataclass
class Loop:
    """A run from batches to checkpoints."""

    fabric: Fabric
    train_step: Step
    manager: CheckpointManager
    train_batches: Callable[[int], Iterator[Any]]  # endless, from a batch number on, on the device
    schedule: Schedule
    batch_size: int  # per process
    grad_accum_steps: int = 1  # batches of a process whose gradients one optimizer step sums up
    validator: Validator | None = None
    callbacks: Mapping[str, Callback] = field(default_factory=dict)  # called in this order
    recent_batches: Callable[[int], Iterator[Any]] | None = None  # the last ones before a batch number, on the device

    def run(self) -> int:
        """Train until the schedule or a callback stops the run; return the exit code."""
        state, manager = self.manager.state, self.manager
        if stop := self._stop():
            log.info("nothing to do: %s; raise the limit to continue", stop.reason)
            return stop.exit_code
        try:
            with self._open_callbacks():
                batches = self.train_batches(state.step * self.grad_accum_steps)
                while not (stop := self._stop()):
                    self._notify("on_step_start")
                    self.run_step(batches)
                    self._notify("on_step")
                    if state.step % self.schedule.log_interval == 0:
                        self._notify("on_log", state.means.pop())
                    self.validate()
                    if self.schedule.is_checkpoint(state.step) or state.best_pending:
                        self.save(numbered=self.schedule.is_checkpoint(state.step))
                if stop.save and manager.saved_step != state.step:
                    self.save()
        except AbortRun:
            return 1
        suffix = f"; saved {manager.path(manager.models[0], state.step)}" if stop.save else ""
        log.info("%s%s", stop.reason, suffix)
        return stop.exit_code

    def run_step(self, batches: Iterator[Any]) -> None:
        """Take one optimizer step of every model, with the gradients of the next batches."""
        state, models = self.manager.state, self.manager.models
        self.train_step.set_step(state.step)
        for model in models:
            model.train()
        for number, batch in enumerate(islice(batches, self.grad_accum_steps), start=1):
            with ExitStack() as stack:  # processes share their gradients once, with those of the last batch
                for model in models:
                    skip: Any = self.fabric.no_backward_sync(model.network, enabled=number < self.grad_accum_steps)  # type: ignore[arg-type]
                    stack.enter_context(skip)
                state.means.add(self.train_step.backward(batch, 1 / self.grad_accum_steps))
        for model in models:
            norm = model.optimizer_step(self.fabric)
            if norm is not None:
                state.means.add({f"{model.prefix}gradient_norm": norm})
        state.step += 1
        state.samples += self.batch_size * self.grad_accum_steps * self.fabric.world_size

    def validate(self) -> None:
        """Score the validation windows at the scheduled steps, and pass the scores to the step and the callbacks."""
        state = self.manager.state
        is_regular = self.schedule.is_validation(state.step)
        if self.validator is None or not (is_regular or state.step in self.schedule.diagnosis_steps):
            return
        self._complete_averages()
        with averaged_weights(self.fabric, self.manager.models):
            result = self.validator.run(self.train_step, state.step, is_regular)
            self._notify("on_validation", result)
        if is_regular:
            self.train_step.on_validation(result.scores)

    def save(self, *, numbered: bool = True) -> None:
        """Write a checkpoint, unless `on_save` aborts; a rollback cancels a pending best.pth."""
        self._notify("on_save")
        if numbered or self.manager.state.best_pending:
            self._complete_averages()
            self.manager.save(numbered=numbered)

    def _complete_averages(self) -> None:
        """Compute the batch-norm statistics of averaged weights that changed, before they are scored or saved."""
        if self.recent_batches is None:
            return
        for model in self.manager.models:
            batches = self.recent_batches(self.manager.state.step * self.grad_accum_steps)
            model.complete_average(self.fabric, self.train_step.forward, batches)

    def _stop(self) -> Stop | None:
        requests = (callback.stop(self.manager.state) for callback in self.callbacks.values())
        return next(filter(None, requests), None) or self.schedule.stop(self.manager.state)

    def _notify(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks.values():
            getattr(callback, hook)(self.manager.state, *arguments)

    @contextmanager
    def _open_callbacks(self) -> Iterator[None]:
        with ExitStack() as stack:
            for callback in self.callbacks.values():
                stack.callback(callback.on_end)
                callback.on_start(self.manager.state)
            yield
