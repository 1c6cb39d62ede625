"""Work in portions that a device's memory has room for. Needed by everything that runs a network, lips included."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Portions:
    """How many things a device takes at a time; halved for good when its memory runs out, with a line that says so."""

    def __init__(self, size: int | None, who: str, things: str):
        """size: things at a time, None for as many as there are. who, things: what the line calls them."""
        self.size, self.who, self.things = size, who, things

    def __call__(self, count: int, work: Callable[[slice], T]) -> list[T]:
        """What `work` makes of each portion of `count` things, in order.

        What it raises is raised, and of a single thing so is its running out of memory.
        """
        done: list[T] = []
        first = 0
        while first < count:
            part = slice(first, min(first + (self.size or count), count))
            try:
                done.append(work(part))
                first = part.stop
            except RuntimeError as error:
                if not is_out_of_memory(error) or part.stop - first == 1:
                    raise
                self.size = (part.stop - first) // 2
                logger.warning("%s ran out of memory; going on with %d %s at a time", self.who, self.size, self.things)
        return done


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an accelerator had too little memory; MPS has no exception class of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)
