"""Batch-norm statistics of averaged weights: those of the weights that were averaged do not fit them.

See Izmailov et al. 2018, "Averaging weights leads to wider optima", section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

MAX_BATCHES = 20  # a pass of these costs about as much as seven training steps
MAX_SAMPLES = 640


def count_batches(batch_size: int) -> int:
    """Return the number of batches that the statistics are computed from."""
    return min(MAX_BATCHES, -(-MAX_SAMPLES // batch_size))


@torch.no_grad()
def recompute_statistics(
    fabric: Fabric, network: nn.Module, forward: Callable[[Any], object], batches: Iterable[Any]
) -> None:
    """Replace running mean and variance of the batch-norms in training mode by their means over batches. Collective.

    forward: runs the network on a batch. Frozen batch-norms, in eval mode, keep their statistics, as do all if there
    is no batch.
    """
    norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm) and norm.training]
    statistics = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
    sums, count = [torch.zeros_like(value) for value in statistics], 0
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 1.0  # the running statistics are those of the last batch
        with torch.compiler.set_stance("force_eager"):  # a few passes do not pay for compiling them
            for batch in batches if norms else ():
                forward(batch)
                torch._foreach_add_(sums, statistics)
                count += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    for value, total in zip(statistics, sums, strict=True):
        if count:
            mean: Any = fabric.all_reduce(total / count, reduce_op="mean")
            value.copy_(mean)
