"""Learning-rate schedule: linear warm-up, then constant or a half cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from train.callbacks.base import Callback
from train.checkpoint.state import TrainState
from train.trainable import TrainableModel


@dataclass(frozen=True)
class WarmupCosine:
    """Factor of the learning rate as a function of the step alone, so that a resume needs no state."""

    warmup_steps: int = 0
    cosine_end: int | None = None  # step at which the factor reaches `floor`; None: constant after warm-up
    floor: float = 0.0

    def factor(self, step: int, start_step: int = 0) -> float:
        """Return the factor at a step, counted from 0, of a model that begins to learn at `start_step`."""
        warm = start_step + self.warmup_steps
        if step < warm:
            return (max(0, step - start_step) + 1) / self.warmup_steps if self.warmup_steps else 1.0
        if self.cosine_end is None:
            return 1.0
        progress = min(1.0, (step - warm) / max(1, self.cosine_end - warm))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


class LRSchedule(Callback):
    """Sets the learning rates of all models before each step: the product of base rate, schedule and rollbacks."""

    def __init__(self, models: Sequence[TrainableModel], schedule: WarmupCosine):
        self.models, self.schedule = models, schedule
        self._base_rates: list[list[float]] = []

    def on_start(self, state: TrainState) -> None:
        """Read the base rates from the optimizers."""
        self._base_rates = [model.learning_rates() for model in self.models]

    def on_step_start(self, state: TrainState) -> None:
        """Set the rates of this step."""
        for model, rates in zip(self.models, self._base_rates, strict=True):
            factor = self.schedule.factor(state.step, model.lr_start_step(state.step))
            factor *= state.lr_factors.get(model.prefix, 1.0)
            model.set_learning_rates([rate * factor for rate in rates])

    def scalars(self) -> dict[str, float]:
        """Return the current rates as curves."""
        return {f"{model.prefix}learning_rate": model.learning_rates()[0] for model in self.models}
