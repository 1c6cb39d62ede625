"""Adaptive batch size for network inference: halved when the device runs out of memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

logger = logging.getLogger(__name__)


class AdaptiveBatcher:
    """Process items in batches; halve the batch size permanently when the device runs out of memory."""

    def __init__(self, size: int | None, owner: str, items: str):
        """size: items per batch, None for all at once. owner, items: their names in the log."""
        self.size, self.owner, self.items = size, owner, items

    def __call__(self, count: int, process: Callable[[slice], T]) -> list[T]:
        """Call `process` on consecutive slices of `count` items and return the results in order.

        Exceptions propagate, including an out-of-memory error on a batch of one.
        """
        results: list[T] = []
        first = 0
        while first < count:
            batch = slice(first, min(first + (self.size or count), count))
            try:
                results.append(process(batch))
                first = batch.stop
            except RuntimeError as error:
                if not is_out_of_memory(error) or batch.stop - first == 1:
                    raise
                self.size = (batch.stop - first) // 2
                logger.warning("%s ran out of memory; batch size reduced to %d %s", self.owner, self.size, self.items)
        return results


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return True for an out-of-memory error of a device; MPS has no exception class of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)
