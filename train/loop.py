"""The one loop of all trainers: step, average, validate, save, resume. It knows no loss."""

from __future__ import annotations

import logging
import math
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from train.monitor import Monitor
from wav2lip.checkpoints import Checkpoint, PathType, load_checkpoint, load_weights, save_checkpoint
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

AGREE_EVERY = 10  # steps between the moments at which several processes ask whether one was told to stop


class Step(Protocol):
    """What a trainer does with a batch; see train.steps."""

    def train(self, batch: Any) -> dict[str, Tensor]: ...
    def validate(self, batches: Any) -> dict[str, float]: ...
    def after_validation(self, scores: dict[str, float]) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


@dataclass
class Progress:
    """How far training is."""

    step: int = 0  # optimizer steps taken
    samples: int = 0  # samples seen by all processes


@dataclass(frozen=True)
class Trained:
    """A network with its optimizer and the name of its checkpoints."""

    network: nn.Module
    optimizer: Optimizer
    prefix: str = ""  # of the file name: "disc_" for the critic

    def rates(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def set_rates(self, rates: list[float], factor: float) -> None:
        """Set each group's learning rate to its base rate times a factor."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor


@dataclass(frozen=True)
class Schedule:
    """When training does what, in optimizer steps."""

    max_steps: int | None = None  # None: until max_epochs or an interrupt
    max_epochs: int = 200_000_000_000_000_000
    epoch_samples: int = 1  # samples that count as a pass over the data
    eval_interval: int = 3000
    checkpoint_interval: int = 3000
    log_interval: int = 50
    validate_first: bool = False  # validate after step 1 too
    save_first: bool = False  # save after step 1 too
    cosine: bool = False  # let the learning rate fall to 0 over max_steps along half a cosine

    def rate_factor(self, step: int) -> float:
        """What the learning rate of a step, counted from 0, is multiplied by; depends on nothing but the step."""
        if not self.cosine or self.max_steps is None:
            return 1.0
        return (1 + math.cos(math.pi * min(1.0, step / self.max_steps))) / 2

    def over(self, progress: Progress) -> bool:
        """Whether training has come to its end."""
        if self.max_steps is not None and progress.step >= self.max_steps:
            return True
        return progress.samples // self.epoch_samples >= self.max_epochs


@dataclass
class Loop:
    """Training from batches to checkpoints."""

    fabric: Fabric
    step: Step
    trained: list[Trained]
    train_batches: Callable[[int], Iterator[Any]]  # from a step on, without end
    val_batches: Callable[[int], Iterator[Any]]  # of one validation, given its step
    pictures: Callable[[Any], Tensor] | None  # a batch to an image grid (3, H, W) in [0, 1], RGB
    schedule: Schedule
    folder: Path
    monitor: Monitor
    batch_size: int  # per process
    progress: Progress = field(default_factory=Progress)
    _saved_step: int | None = None

    def run(self) -> int:
        """Train to the end or to a signal; returns the exit code, 0 or 128 plus the signal's number."""
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.fabric.device))
        counted = 0
        if self.schedule.over(self.progress):
            log.info("nothing to do: step %d is at or past the end; raise max_steps or nepochs", self.progress.step)
            return 0
        base_rates = [trained.rates() for trained in self.trained]
        with Interrupt() as interrupt, self.monitor, self._bar() as bar:
            for batch in self._inputs(self.train_batches(self.progress.step)):
                if self.schedule.over(self.progress) or self._stopped(interrupt):
                    break
                for trained, rates in zip(self.trained, base_rates, strict=True):
                    trained.set_rates(rates, self.schedule.rate_factor(self.progress.step))
                for name, value in self.step.train(batch).items():
                    sums[name] += value.float()  # stays on the device: reading it each step would stall it
                counted += 1
                self.progress.step += 1
                self.progress.samples += self.batch_size * self.fabric.world_size
                bar.update()
                step = self.progress.step
                if step % self.schedule.log_interval == 0:
                    means = {name: (total / counted).item() for name, total in sums.items()}
                    self.monitor.scalars("train", means, self.progress.step)
                    bar.set_postfix({name: f"{value:.4f}" for name, value in means.items()})
                    sums.clear()
                    counted = 0
                if step % self.schedule.eval_interval == 0 or (self.schedule.validate_first and step == 1):
                    self.validate()
                if step % self.schedule.checkpoint_interval == 0 or (self.schedule.save_first and step == 1):
                    self.save()
            if self._saved_step != self.progress.step:
                self.save()
        if interrupt.signal:
            files = " ".join(f"{trained.prefix}checkpoint_path={self._path(trained)}" for trained in self.trained)
            log.info("stopped by %s; saved, go on with %s", signal.Signals(interrupt.signal).name, files)
            return 128 + interrupt.signal
        log.info("done: %s", self._path(self.trained[0]))
        return 0

    def _stopped(self, interrupt: Interrupt) -> bool:
        """Whether to stop; several processes stop at the same step, or they would wait for one another for ever."""
        if self.fabric.world_size == 1:
            return bool(interrupt.signal)
        if self.progress.step % AGREE_EVERY:
            return False
        told: Any = self.fabric.all_reduce(torch.tensor(float(interrupt.signal)), reduce_op="max")
        interrupt.signal = int(told.item())
        return bool(interrupt.signal)

    def validate(self) -> dict[str, float]:
        """Score the fixed held-out windows, log them, and let the step act on them."""
        scores = self.step.validate(self._inputs(self.val_batches(self.progress.step)))
        self.step.after_validation(scores)
        self.monitor.scalars("val", scores, self.progress.step)
        if self.pictures is not None and self.fabric.is_global_zero:
            first = next(self._inputs(self.val_batches(self.progress.step)))
            self.monitor.picture("val", self.pictures(first), self.progress.step)
        if self.fabric.is_global_zero:
            tqdm.write(
                f"step {self.progress.step}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            )
        return scores

    def save(self) -> None:
        """Write the numbered checkpoint of every network."""
        extras = {
            "step_state": self.step.state(),
            "samples": self.progress.samples,
            "rng": torch.get_rng_state(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        if self.fabric.is_global_zero:
            for trained in self.trained:
                save_checkpoint(
                    self._path(trained),
                    Checkpoint(
                        state_dict=unwrapped(trained.network).state_dict(),
                        optimizer=trained.optimizer.state_dict(),
                        global_step=self.progress.step,
                        global_epoch=self.progress.samples // self.schedule.epoch_samples,
                        extras=extras,
                    ),
                )
        self._saved_step = self.progress.step
        self.fabric.barrier()

    def _path(self, trained: Trained) -> Path:
        return self.folder / f"{trained.prefix}checkpoint_step{self.progress.step:09d}.pth"

    def _inputs(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Network values on the device, made there from the loader's bytes."""
        for batch in batches:
            yield type(batch)(*(part.to(self.fabric.device, non_blocking=True) for part in batch)).inputs()

    def _bar(self) -> tqdm:
        return tqdm(
            total=self.schedule.max_steps,
            initial=self.progress.step,
            unit="step",
            smoothing=0.1,
            mininterval=1,
            disable=not self.fabric.is_global_zero,
        )


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, without what Fabric puts around it."""
    return getattr(network, "module", network)


def resume(loop: Loop, path: PathType, trained: Trained, *, reset_optimizer: bool, stored_rates: bool) -> None:
    """Take weights from a checkpoint, and everything else that training left there.

    reset_optimizer: the weights only: step 0, a fresh optimizer, as fine-tuning from a public file wants.
    stored_rates: keep the file's learning rate and betas, as the release does, instead of the configured ones.
    Raises: InputError if the file is of another network or its optimizer of another shape.
    """
    checkpoint = load_checkpoint(path)
    load_weights(unwrapped(trained.network), checkpoint.state_dict, path)
    if reset_optimizer:
        return
    if checkpoint.optimizer is None:
        log.warning("%s: has no optimizer state; it starts fresh", path)
    else:
        _load_optimizer(trained.optimizer, checkpoint.optimizer, path, stored_rates)
    if trained is not loop.trained[0]:
        return  # the critic's own counters do not matter, the generator's do
    loop.progress.step = checkpoint.global_step
    extras = checkpoint.extras
    epoch_start = checkpoint.global_epoch * loop.schedule.epoch_samples  # all that a public file tells
    loop.progress.samples = int(extras.get("samples", epoch_start))
    loop.step.load_state(extras.get("step_state", {}))
    if "rng" in extras:
        torch.set_rng_state(extras["rng"])
    if extras.get("precision"):  # the loss scale of 16-mixed; empty in other precisions
        loop.fabric.strategy.precision.load_state_dict(extras["precision"])


def _load_optimizer(optimizer: Optimizer, state: dict[str, Any], path: PathType, stored_rates: bool) -> None:
    configured = [{key: group[key] for key in ("lr", "betas")} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: its optimizer does not fit ({error}); add reset_optimizer=true") from error
    if not stored_rates:
        for group, ours in zip(optimizer.param_groups, configured, strict=True):
            group.update(ours)


class Interrupt:
    """Notes Ctrl-C and SIGTERM instead of dying, so that training can save first; a second one kills as usual."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._before[number])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
