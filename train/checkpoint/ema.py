"""Exponential moving average of a network's weights, which scores better than those of a single step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of weights and batch-norm statistics over the last steps."""

    def __init__(self, network: nn.Module, decay: float):
        """decay: weight of the old average at each step, in (0, 1); 0.999 averages about 1000 steps.

        In the first steps n it is at most (1 + n) / (10 + n), so that the initial weights soon have no influence.
        """
        self.network, self.decay, self.steps = network, decay, 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step to the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        means, values = [], []
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                means.append(self.weights[name])
                values.append(value)
            else:  # an average of batch counters has no meaning
                self.weights[name].copy_(value)
        torch._foreach_lerp_(means, values, 1 - decay)

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """Give the network the averaged weights inside the block, then its own again."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._copy(self.weights, self.network.state_dict())
        try:
            yield
        finally:
            self._copy(own, self.network.state_dict())

    def load(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Restore an average; steps: number of updates it has had."""
        self._copy(weights, self.weights)
        self.steps = steps

    @staticmethod
    @torch.no_grad()
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, value in target.items():
            value.copy_(source[name])
