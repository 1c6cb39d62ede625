"""Self-test before a long run: memorize a few fixed batches, or report that data, network, loss or optimizer is broken.

It does not show whether the data can teach lip sync.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

from train.callbacks.base import Callback, Stop
from train.checkpoint.state import TrainState
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

REPORT_INTERVAL_PASSES = 10
MAX_LOSS_RATIO = 2 / 3  # last pass to first; a larger one shows little learning
MAX_REJECTED_BATCHES = 100


@dataclass(frozen=True)
class OverfitGoal:
    """The loss that a trainer must reach on its fixed batches."""

    term: str
    max_loss: float  # mean over all batches
    is_usable: Callable[[Any], bool] = lambda batch: True  # returns whether a batch can be learned from


class OverfitTest(Callback):
    """Stops the run with exit code 0 when the goal is reached, with 1 after `max_steps`; nothing is saved.

    The log interval of the run must be the number of batches, so that means are over one pass.
    """

    def __init__(self, goal: OverfitGoal, batches: int, max_steps: int):
        self.goal, self.batches = goal, batches
        self.max_steps = max(1, max_steps // batches) * batches
        self.first: dict[str, float] = {}  # every loss, mean over the first pass
        self.last: dict[str, float] = {}  # mean over the last pass

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Record the losses of a pass."""
        self.last = dict(means)
        self.first = self.first or self.last
        if state.step % (REPORT_INTERVAL_PASSES * self.batches) == 0:
            log.info("overfit step %d | %s %.4f", state.step, self.goal.term, self.last[self.goal.term])

    def stop(self, state: TrainState) -> Stop | None:
        """Return a stop request with the result, once there is one."""
        if not self.last:
            return None
        first, last = self.first[self.goal.term], self.last[self.goal.term]
        has_passed = last < min(self.goal.max_loss, MAX_LOSS_RATIO * first)
        if not has_passed and math.isfinite(last) and state.step < self.max_steps:
            return None
        if has_passed:
            result, advice = "PASSED", "Data, network, loss and optimizer work together"
        elif not math.isfinite(last):
            result, advice = "FAILED", "The loss is not finite; lower learning_rate"
        else:
            result, advice = "FAILED", ("Try another learning_rate or a larger overfit_max_steps; if neither helps, "
                                        "the data is corrupt or a change broke the network")  # fmt: skip
        reason = f"overfit test {result}: {self._describe_losses(state.step)}. {advice}"
        return Stop(reason, exit_code=0 if has_passed else 1, save=False)

    def _describe_losses(self, steps: int) -> str:
        changes = {name: f"{self.first[name]:.4f} to {self.last[name]:.4f}" for name in self.last}
        main = changes.pop(self.goal.term)
        text = (f"{self.goal.term} went from {main} in {steps} steps on {self.batches} fixed batches; goal: by a "
                f"third, below {self.goal.max_loss:.4f}")  # fmt: skip
        return text + (f" (also: {', '.join(f'{name} {change}' for name, change in changes.items())})" * bool(changes))


def fixed_batches(batches: Iterator[Any], goal: OverfitGoal, count: int, repeats: int) -> Iterator[Any]:
    """Yield the first `count` usable batches in an endless cycle, each `repeats` times in a row."""
    chosen = [_next_usable(batches, goal.is_usable) for _ in range(count)]
    return chain.from_iterable([batch] * repeats for batch in cycle(chosen))


def _next_usable(batches: Iterator[Any], is_usable: Callable[[Any], bool]) -> Any:
    for batch in islice(batches, MAX_REJECTED_BATCHES):
        if is_usable(batch):
            return batch
    raise InputError(f"overfit_batches: none of {MAX_REJECTED_BATCHES} batches has matching and mismatched pairs; "
                     "raise batch_size")  # fmt: skip
