"""A self-test before days of training: a few fixed batches must be learned by heart, or something is broken.

It proves data, networks, losses and optimizer together; it says nothing of whether speech can be learned from the data.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, cycle, islice
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from train.loop import Loop, Means
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

REPORT = 10  # passes through the batches between lines
ENOUGH = 2 / 3  # of the loss of the first pass; less was learned in the test
TRIES = 100  # batches that are looked at for one with both kinds of pairs


@dataclass(frozen=True)
class Goal:
    """What a trainer must reach on its fixed batches."""

    term: str  # of its losses
    below: float  # mean over all of the batches
    fits: Callable[[Any], bool] = lambda batch: True  # whether a batch can be learned from


@dataclass(frozen=True)
class Outcome:
    """How the self-test went."""

    goal: Goal
    batches: int
    steps: int
    first: dict[str, float]  # every loss, mean over the first pass through the batches
    last: dict[str, float]  # and over the last one

    @property
    def passed(self) -> bool:
        """Whether the loss came down as far as it must, and did so here: to less than two thirds of where it began."""
        term = self.goal.term
        return self.last[term] < min(self.goal.below, ENOUGH * self.first[term])

    def in_words(self) -> str:
        """The verdict with its figures."""
        term = self.goal.term
        others = ", ".join(
            f"{name} {self.first[name]:.4f} to {value:.4f}" for name, value in self.last.items() if name != term
        )
        figures = (f"{term} went from {self.first[term]:.4f} to {self.last[term]:.4f} in {self.steps} steps on "
                   f"{self.batches} fixed batches; it must fall by a third, below {self.goal.below:.4f}")  # fmt: skip
        figures += f" (besides: {others})" if others else ""
        if self.passed:
            return f"overfit test PASSED: {figures}. Data, network, loss and optimizer work together."
        if not math.isfinite(self.last[term]):
            return f"overfit test FAILED: {figures}. The loss is no number any more: lower learning_rate"
        return (f"overfit test FAILED: {figures}. Try another learning_rate or a larger overfit_steps; where neither "
                "helps, what is trained on is damaged or the network was changed for the worse")  # fmt: skip


def overfit(cfg: DictConfig, loop: Loop, goal: Goal) -> int:
    """Train on cfg.overfit batches alone for cfg.overfit_steps steps at most; returns the exit code, 0 or 1.

    The batches are the first of training that fit the goal, so seed and data determine them. The learning rate is the
    configured one, without warm-up or schedule. It begins from nothing, whatever checkpoint is named: good weights
    would pass without learning. Nothing is validated, nothing is saved.
    """
    batches = list(islice(fitting(loop.first_batches(), goal.fits), cfg.overfit))
    outcome = drive(loop, batches, goal, cfg.overfit_steps)
    if loop.fabric.is_global_zero:
        log.info("%s", outcome.in_words())
    return 0 if outcome.passed else 1


def fitting(batches: Iterator[Any], fits: Callable[[Any], bool]) -> Iterator[Any]:
    """Those batches that fit; InputError if a hundred in a row do not."""
    for _ in count():
        found = next((batch for batch in islice(batches, TRIES) if fits(batch)), None)
        if found is None:
            raise InputError(f"overfit: none of {TRIES} batches has both right and wrong pairs; raise batch_size")
        yield found


def drive(loop: Loop, batches: Sequence[Any], goal: Goal, steps: int) -> Outcome:
    """Pass through the batches again and again, until the goal is reached or the steps are used up.

    The losses are those that training sees, so batch-norm goes by the batch's own statistics.
    """
    endless, passes = chain.from_iterable(repeat_each(batches, loop.accumulate)), max(1, steps // len(batches))
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for done in range(1, passes + 1):
        means = Means()
        for _ in batches:
            loop.learn(endless, means)
        last = of_all(loop, means.take())
        first = first or last
        if done % REPORT == 0 and loop.fabric.is_global_zero:
            log.info("overfit step %d | %s %.4f", done * len(batches), goal.term, last[goal.term])
        if last[goal.term] < min(goal.below, ENOUGH * first[goal.term]) or not math.isfinite(last[goal.term]):
            break
    return Outcome(goal, len(batches), done * len(batches), first, last)


def repeat_each(batches: Sequence[Any], times: int) -> Iterator[list[Any]]:
    """Without end, each batch as often in a row as one optimizer step takes."""
    return ([batch] * times for batch in cycle(batches))


def of_all(loop: Loop, terms: dict[str, float]) -> dict[str, float]:
    """Means over all processes, so that they all stop at the same step."""
    tensors: dict[str, Tensor] = {name: torch.tensor(value) for name, value in terms.items()}
    means: Any = loop.fabric.all_reduce(tensors)
    return {name: float(mean) for name, mean in means.items()}
