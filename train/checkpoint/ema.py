"""Exponential moving average of a network's weights, which scores better than those of a single step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of the weights over the last steps.

    After an update its batch-norm statistics are those of the network's own weights, until `keep_statistics`.
    """

    def __init__(self, network: nn.Module, decay: float):
        """decay: weight of the old average at each step, in (0, 1); 0.999 averages about 1000 steps.

        In the first steps n it is at most (1 + n) / (10 + n), so that the initial weights soon have no influence.
        """
        self.network, self.decay, self.steps = network, decay, 0
        self.has_statistics = True  # of the averaged weights
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step to the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        parameters = dict(self.network.named_parameters())
        torch._foreach_lerp_([self.weights[name] for name in parameters], list(parameters.values()), 1 - decay)
        if buffers := dict(self.network.named_buffers()):
            torch._foreach_copy_([self.weights[name] for name in buffers], list(buffers.values()))
        self.has_statistics = False

    @torch.no_grad()
    def keep_statistics(self) -> None:
        """Take over the network's batch-norm statistics, without its counters, as those of the averaged weights."""
        for name, value in self.network.named_buffers():
            if value.is_floating_point():
                self.weights[name].copy_(value)
        self.has_statistics = True

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
        """Restore an average with its statistics; steps: number of updates it has had."""
        self._copy(weights, self.weights)
        self.steps, self.has_statistics = steps, True

    @staticmethod
    @torch.no_grad()
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, value in target.items():
            value.copy_(source[name])
