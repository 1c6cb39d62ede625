"""What changes over a training: learning rates and weights of losses, as functions of the step alone.

A function of nothing but the step needs no state in a checkpoint and is the same after any resume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RateSchedule:
    """What the learning rate is multiplied by: a line from 0 up during the warm-up, then constant or half a cosine."""

    warmup: int = 0  # optimizer steps
    cosine_end: int | None = None  # step at which the rate has fallen to `floor`; None: it stays
    floor: float = 0.0  # share of the rate that is left at the end

    def factor(self, step: int, begin: int = 0) -> float:
        """For a step, counted from 0; of a network that begins to learn at step `begin`."""
        warm = begin + self.warmup
        if step < warm:
            return (max(0, step - begin) + 1) / self.warmup if self.warmup else 1.0
        if self.cosine_end is None:
            return 1.0
        done = min(1.0, (step - warm) / max(1, self.cosine_end - warm))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
