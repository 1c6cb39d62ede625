"""What a metric is, and what measuring gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LOWER, HIGHER, ZERO, ONE = "lower", "higher", "nearest 0", "nearest 1"  # which values are better


@dataclass(frozen=True)
class Metric:
    """A number that says something of a video, and how it is to be read."""

    name: str
    better: str  # LOWER, HIGHER, ZERO or ONE
    range: str  # the values there can be
    unit: str  # "" for a plain number
    formula: str
    source: str
    needs: str = "nothing but the video"  # weights, and videos to compare with

    def off(self, value: float) -> float:
        """How far from the best value, where that is 0 or 1; else the value itself."""
        return value if self.better == HIGHER else badness(self.better, value)


def badness(better: str, value: float) -> float:
    """A number that is the lower the better, whichever values are better: LOWER, HIGHER, ZERO or ONE."""
    return {LOWER: value, HIGHER: -value, ZERO: abs(value), ONE: abs(value - 1)}[better]


@dataclass(frozen=True)
class Scores:
    """What was measured of one video, and what was not; no metric is in both."""

    values: Mapping[str, float] = field(default_factory=dict)  # metric to value; may be infinite, never NaN
    missing: Mapping[str, str] = field(default_factory=dict)  # metric to why it was not computed, with the remedy

    def __post_init__(self) -> None:
        if bad := [name for name, value in self.values.items() if math.isnan(value)]:
            raise ValueError(f"{bad[0]} is no number: leave it out and say why")
        if both := self.values.keys() & self.missing.keys():
            raise ValueError(f"{min(both)} is computed and not computed")

    def __or__(self, other: Scores) -> Scores:
        return Scores({**self.values, **other.values}, {**self.missing, **other.missing})


def not_computed(metrics: tuple[Metric, ...], why: str) -> Scores:
    """None of these metrics, for one reason."""
    return Scores(missing={metric.name: why for metric in metrics})
