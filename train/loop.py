"""The one loop of all trainers: step, average, validate, save. It knows no loss."""

from __future__ import annotations

import logging
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.checkpointing import Checkpoints, Progress
from train.guard.guard import Guard, Trouble
from train.guard.rescue import lost, rescue
from train.interrupt import Interrupt
from train.processes import mean_of_all
from train.schedules import RateSchedule
from train.scores.shift_curve import curve_scores, measure, picture_of
from train.scores.stopping import Watch
from train.trained import Trained, share_statistics
from train.verdicts.judge import Judge
from train.verdicts.rules import Kind
from train.watching.console import Console
from train.watching.monitor import Monitor
from train.watching.pace import Pace
from train.watching.preview import Preview

log = logging.getLogger(__name__)

AGREE_EVERY = 10  # steps between the moments at which several processes ask whether one was told to stop


class Step(Protocol):
    """What a trainer does with a batch; see train.syncnet_step and train.generator_step."""

    expert: nn.Module  # judges lips and sounds
    watchable: Mapping[str, str]  # scores that can be followed, and which values are better; see Watch

    def begin(self, step: int) -> None: ...
    def backward(self, batch: Any, share: float) -> dict[str, Tensor]: ...
    def validate(self, batches: Any) -> dict[str, float]: ...
    def shown(self, batch: Any) -> tuple[Tensor, Tensor]: ...
    def after_validation(self, scores: dict[str, float]) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


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
    rate: RateSchedule = field(default_factory=RateSchedule)

    def over(self, progress: Progress) -> bool:
        """Whether training has come to its end."""
        if self.max_steps is not None and progress.step >= self.max_steps:
            return True
        return progress.samples // self.epoch_samples >= self.max_epochs


class Means:
    """Running means of named values that stay on the device: reading one at each step would stall it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, values: dict[str, Tensor]) -> None:
        """Take in a value of each name; names may come and go."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value.float() if name in self._sums else value.float()
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """The means since the last time, each over the times that its name came."""
        means = {name: (total / self._counts[name]).item() for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def state(self, fabric: Fabric) -> dict[str, dict[str, float]]:
        """What was gathered since the last `take`, the mean of all processes; all of them must call it."""
        sums = {name: total.item() for name, total in self._sums.items()}
        return {"sums": mean_of_all(fabric, sums), "counts": dict(self._counts)}

    def load_state(self, state: Mapping[str, Mapping[str, float]], device: torch.device) -> None:
        """Take back what `state` gave; an empty one, of a file that has none, holds nothing gathered."""
        self._sums = {name: torch.tensor(total, device=device) for name, total in state.get("sums", {}).items()}
        self._counts = defaultdict(int, {name: int(count) for name, count in state.get("counts", {}).items()})


@dataclass
class Loop:
    """Training from batches to checkpoints."""

    fabric: Fabric
    step: Step
    trained: list[Trained]
    train_batches: Callable[[int], Iterator[Any]]  # from a step on, without end
    val_batches: Callable[[int], Iterator[Any]]  # of one validation, given its step
    val_batches_around: Callable[[], Iterator[Any]]  # with the sounds at wav2lip.shift_curve.SHIFTS; may be none
    pictures: Callable[[Any], Tensor] | None  # a batch to an image grid (3, H, W) in [0, 1], RGB
    schedule: Schedule
    folder: Path
    monitor: Monitor
    watch: Watch
    batch_size: int  # per process
    preview: Preview | None = None  # a video of held-out frames, at each validation
    accumulate: int = 1  # batches of a process that one optimizer step gathers gradients of
    keep: int | None = None  # numbered checkpoints that stay; None: all
    judge: Judge | None = None
    guard: Guard = field(default_factory=Guard)
    progress: Progress = field(default_factory=Progress)
    means: Means = field(default_factory=Means)  # of the terms since the last report
    resumed: bool = False  # it goes on from its own checkpoints
    _saved_step: int | None = None

    def run(self) -> int:
        """Train to the end, to a signal or to trouble; returns the exit code, 0, 128 plus the signal's number, or 1."""
        means = self.means
        if self.schedule.over(self.progress):
            log.info("nothing to do: step %d is at or past the end; raise max_steps or nepochs", self.progress.step)
            return 0
        if reason := self.watch.reason_to_stop():
            log.info("nothing to do: %s", reason)
            return 0
        base_rates = [trained.rates() for trained in self.trained]
        pace = Pace()
        with Interrupt() as interrupt, self.monitor.after(self.progress.step), self._console() as console:
            batches = self._inputs(pace.waited(self.train_batches(self.progress.step * self.accumulate)))
            while not (self.schedule.over(self.progress) or self.watch.reason_to_stop() or self._stopped(interrupt)):
                for trained, rates in zip(self.trained, base_rates, strict=True):
                    factor = self.schedule.rate.factor(self.progress.step, trained.begins(self.progress.step))
                    trained.set_rates(rates, factor * self.guard.rate(trained.prefix))
                before = self.progress.samples
                self.learn(batches, means)
                pace.stepped(self.progress.samples - before)
                console.advance()
                step = self.progress.step
                if step % self.schedule.log_interval == 0:
                    terms = self._report(means, pace, console)
                    if not self._goes_on(self.guard.look(step, terms), means):
                        return 1
                with pace.paused():
                    best = False
                    regular = step % self.schedule.eval_interval == 0 or (self.schedule.validate_first and step == 1)
                    if regular or (self.judge is not None and self.judge.due(step)):
                        scores = self.validate(acting=regular)
                        console.validated(scores)
                        self._judge(scores)
                        best = regular and self.watch.take(scores, step)
                    due = step % self.schedule.checkpoint_interval == 0 or (self.schedule.save_first and step == 1)
                    if (due or best) and not self._saved(means, numbered=due, best=best):
                        return 1
            if self._saved_step != self.progress.step and not self._saved(means):
                return 1
        if interrupt.signal:
            name = signal.Signals(interrupt.signal).name
            log.info("stopped by %s; saved %s, resume=true goes on", name, self._file(self.trained[0]))
            return 128 + interrupt.signal
        if reason := self.watch.reason_to_stop():
            log.info("stops early: %s", reason)
        log.info("done: %s", self._file(self.trained[0]))
        return 0

    def learn(self, batches: Iterator[Any], means: Means) -> None:
        """One optimizer step of every network, with the gradients of the next batches."""
        self.step.begin(self.progress.step)
        for trained in self.trained:
            trained.train()
        for number, batch in enumerate(islice(batches, self.accumulate), start=1):
            with ExitStack() as joined:  # processes share their gradients once, with those of the last batch
                for trained in self.trained:
                    joined.enter_context(
                        self.fabric.no_backward_sync(trained.network, enabled=number < self.accumulate)  # type: ignore[arg-type]
                    )
                means.add(self.step.backward(batch, 1 / self.accumulate))
        for trained in self.trained:
            norm = trained.update(self.fabric)
            if norm is not None:
                means.add({f"{trained.prefix}gradient_norm": norm})
        self.progress.step += 1
        self.progress.samples += self.batch_size * self.accumulate * self.fabric.world_size

    def first_batches(self) -> Iterator[Any]:
        """The batches of training from its beginning, without end."""
        return self._inputs(self.train_batches(0))

    def _stopped(self, interrupt: Interrupt) -> bool:
        """Whether to stop; several processes stop at the same step, or they would wait for one another for ever."""
        if self.fabric.world_size == 1:
            return bool(interrupt.signal)
        if self.progress.step % AGREE_EVERY:
            return False
        told: Any = self.fabric.all_reduce(torch.tensor(float(interrupt.signal)), reduce_op="max")
        interrupt.signal = int(told.item())
        return bool(interrupt.signal)

    def validate(self, *, acting: bool = True) -> dict[str, float]:
        """Score the fixed held-out windows, log them, and let the step act on them.

        acting: False in evaluations that the judge alone asked for; what the step does at its validations waits.
        """
        with ExitStack() as averaged:
            for trained in self.trained:
                averaged.enter_context(trained.averaged())
                share_statistics(self.fabric, trained.network)
            scores = self.step.validate(self._inputs(self.val_batches(self.progress.step)))
            around = map(self.step.shown, self._inputs(self.val_batches_around()))
            curve = measure(self.fabric, self.step.expert, around)
            if self.pictures is not None and self.fabric.is_global_zero:
                first = next(self._inputs(self.val_batches(self.progress.step)))
                self.monitor.picture("val", self.pictures(first), self.progress.step)
            if self.preview is not None:
                self.preview.write(self.progress.step)
        if curve is not None:
            scores |= curve_scores(curve)
            if self.fabric.is_global_zero:
                self.monitor.picture("val/curve", picture_of(curve), self.progress.step)
        if acting:
            self.step.after_validation(scores)
        self.monitor.scalars("val", scores, self.progress.step)
        return scores

    def _judge(self, scores: dict[str, float]) -> None:
        """Say whether training learns, if it is time to."""
        if self.judge is None:
            return
        step = self.progress.step
        verdicts = self.judge.evaluated(step, scores, lambda: self._inputs(self.val_batches(step)))
        if verdicts and self.fabric.is_global_zero:
            self.monitor.text("verdict", self.judge.say(verdicts, step), step)
            found = {verdict.kind for verdict in verdicts}
            self.monitor.scalars("verdict", {kind: float(kind in found) for kind in Kind}, step)

    def _goes_on(self, trouble: Trouble | None, means: Means) -> bool:
        """Whether training goes on in spite of a trouble, if there is one; it may have gone back to a checkpoint."""
        if trouble is None:
            return True
        means.take()  # what was gathered since the last report may be lost as well
        return rescue(self.guard, trouble, self.checkpoints, self.progress.step)

    def _saved(self, means: Means, *, numbered: bool = True, best: bool = False) -> bool:
        """Save, unless the weights are lost; whether training goes on."""
        trouble = lost(self.trained, self.guard.last)
        if not self._goes_on(trouble, means):
            return False
        best = best and trouble is None  # what it went back to is not what was validated
        if numbered or best:
            self.save(numbered=numbered, best=best)
        return True

    def _report(self, means: Means, pace: Pace, console: Console) -> dict[str, float]:
        """Log what the steps since the last report came to, and return it; reading the means waits for the device."""
        terms, rates = mean_of_all(self.fabric, means.take()), pace.take()
        speed = {"samples_per_second": rates.samples_per_second, "data_wait": rates.data_wait}
        learning = {f"{trained.prefix}learning_rate": trained.rates()[0] for trained in self.trained}
        self.monitor.scalars("train", terms | speed | learning, self.progress.step)
        if self.judge is not None:
            self.judge.hear(terms)
        console.report(terms, rates)
        return terms

    def save(self, *, numbered: bool = True, best: bool = False) -> None:
        """Write the checkpoint of every network: the numbered one of this step and last.pth, best.pth, or all."""
        epoch = self.progress.samples // self.schedule.epoch_samples
        state = self.step.state() | {"guard": self.guard.state(), "watch": self.watch.state()}
        state["means"] = self.means.state(self.fabric)
        if self.judge is not None:
            state["judge"] = self.judge.state()
        self.checkpoints.save(self.progress, epoch, state, numbered=numbered, best=best)
        if numbered:
            self._saved_step = self.progress.step

    @property
    def checkpoints(self) -> Checkpoints:
        """Where this training's checkpoints go."""
        return Checkpoints(self.fabric, self.folder, self.trained, self.keep)

    def _file(self, trained: Trained) -> Path:
        return self.checkpoints.path(trained, self.progress.step)

    def _inputs(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Network values on the device, made there from the loader's bytes."""
        for batch in batches:
            yield type(batch)(*(part.to(self.fabric.device, non_blocking=True) for part in batch)).inputs()

    def _console(self) -> Console:
        return Console(self.schedule.max_steps, self.progress.step, self.fabric.is_global_zero)
