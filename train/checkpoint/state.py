"""The state of a run that a checkpoint holds beside networks and optimizers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor

from train.checkpoint.plain_state import parse_state, read_dict
from train.distributed import all_reduce_mean

State = dict[str, Any]  # plain values and tensors; empty if the checkpoint has none, as upstream's


class Stateful(Protocol):
    """An object whose state a checkpoint holds."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned. Raises: ValueError if a value has another type."""


@dataclass
class MeansState:
    """State of `RunningMeans`."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


class RunningMeans:
    """Means of named values since the last report; the sums stay on the device, because reading them would stall it."""

    def __init__(self, fabric: Fabric):
        self._fabric = fabric
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one value of each name; a name may be absent at some steps."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value.float() if name in self._sums else value.float()
            self._counts[name] += 1

    def pop(self) -> dict[str, float]:
        """Return the means over all processes and start again. Collective."""
        means = {name: (total / self._counts[name]).item() for name, total in self._sums.items()}
        self.clear()
        return all_reduce_mean(self._fabric, means)

    def clear(self) -> None:
        """Drop all values."""
        self._sums.clear()
        self._counts.clear()

    def state_dict(self) -> State:
        """Return the sums, averaged over the processes, and the counts. Collective."""
        sums = {name: total.item() for name, total in self._sums.items()}
        return {"sums": all_reduce_mean(self._fabric, sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: State) -> None:
        """Restore sums and counts. Raises: ValueError for values of other types."""
        means, device = parse_state(MeansState, state), self._fabric.device
        if means.sums.keys() != means.counts.keys() or min(means.counts.values(), default=1) < 1:
            raise ValueError("means must have a count of 1 or more for each sum")
        self._sums = {name: torch.tensor(total, device=device) for name, total in means.sums.items()}
        self._counts = defaultdict(int, means.counts)


@dataclass
class Counters:
    """Numbers of a run in a checkpoint."""

    samples: int | None = None
    lr_factors: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 0:
            raise ValueError(f"samples must be 0 or more, not {self.samples}")
        if not all(0 < factor < math.inf for factor in self.lr_factors.values()):
            raise ValueError(f"lr_factors must be above 0, not {self.lr_factors}")


@dataclass
class TrainState:
    """Counters of a run, and the objects whose state a resume restores."""

    train_step: Stateful  # the trainer's step
    means: RunningMeans
    callbacks: Mapping[str, Stateful] = field(default_factory=dict)
    step: int = 0  # optimizer steps taken
    samples: int = 0  # samples seen by all processes
    lr_factors: dict[str, float] = field(default_factory=dict)  # key: model prefix; rollbacks lower them
    best_pending: bool = False  # the last validation was the best so far and best.pth is not written yet

    def state_dict(self) -> State:
        """Return all but `step`, which is a key of its own in the file. Collective."""
        return {
            "samples": self.samples,
            "lr_factors": dict(self.lr_factors),
            "means": self.means.state_dict(),
            "train_step": self.train_step.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self.callbacks.items()},
        }

    def load_state_dict(self, state: State, step: int, samples: int) -> None:
        """Restore the run after `step`; samples: the count for a file that holds none.

        Raises: ValueError if a value has another type.
        """
        counters = parse_state(Counters, state)
        self.step, self.samples = step, samples if counters.samples is None else counters.samples
        self.lr_factors = counters.lr_factors
        self.means.load_state_dict(read_dict(state, "means"))
        self.train_step.load_state_dict(read_dict(state, "train_step"))
        callbacks = read_dict(state, "callbacks")
        for name, callback in self.callbacks.items():
            callback.load_state_dict(read_dict(callbacks, name))
