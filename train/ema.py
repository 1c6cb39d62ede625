"""A running average of a network's weights, which scores better and swings less than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of weights and batch-norm statistics (Polyak averaging with forgetting)."""

    def __init__(self, network: nn.Module, decay: float):
        """decay: share of the average that stays at each step, in (0, 1); 0.999 remembers about 1000 steps.

        While fewer steps were taken than that, less stays, (1 + n) / (10 + n) after n steps, so that the weights
        of the beginning are soon forgotten.
        """
        self.network, self.decay, self.steps = network, decay, 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's weights as they are after a step."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        means, values = [], []
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                means.append(self.weights[name])
                values.append(value)
            else:  # a counter of batches: no average has a meaning
                self.weights[name].copy_(value)
        torch._foreach_lerp_(means, values, 1 - kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network has the averaged weights inside the block, and its own again after it."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._copy(self.weights, self.network.state_dict())
        try:
            yield
        finally:
            self._copy(own, self.network.state_dict())

    def load(self, weights: Mapping[str, Tensor], steps: int) -> None:
        """Go on from an average of so many steps."""
        self._copy(weights, self.weights)
        self.steps = steps

    @staticmethod
    @torch.no_grad()
    def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        for name, value in target.items():
            value.copy_(source[name])
