"""Stages that work at the same time: each runs a few items ahead of the one that takes from it."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

HELD = 64 << 20  # bytes that may wait between two stages: 8 frames of 1920 x 1080 and more, 2 of 3840 x 2160


def ahead(items: Generator[T, None, None], size: int, nbytes: Callable[[T], int]) -> Generator[T, None, None]:
    """The same items in order, made in a thread of their own before they are asked for.

    At most `size` of them are, and fewer where they are large: nbytes tells how many bytes the first one takes.
    What goes wrong while one is made is raised where it is asked for. When this is closed, or ends, `items` is closed
    in its thread, so that files it holds are closed before the caller goes on.
    """
    end = object()
    waiting: deque[Future[T | object]] = deque()
    most = 1  # until the first one is known
    with ThreadPoolExecutor(1) as thread:
        try:
            for number in itertools.count():
                while len(waiting) < most:
                    waiting.append(thread.submit(next, items, end))
                item = waiting.popleft().result()
                if item is end:
                    return
                if not number:
                    most = at_most(size, nbytes(item))  # type: ignore[arg-type]  # it is not `end`
                    waiting.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            for later in waiting:
                later.cancel()
            thread.submit(items.close).result()


def at_most(size: int, nbytes: int) -> int:
    """How many things of so many bytes may wait between two stages: one at least."""
    return max(1, min(size, HELD // max(1, nbytes)))


def as_one(*stages: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items of the last of some stages that take from one another; when this is closed or ends, all are closed.

    Else what a stage holds, a thread for instance, would stay for as long as an exception's traceback knows it.
    """
    with contextlib.ExitStack() as closing:
        for stage in stages:  # the last is closed first
            closing.callback(stage.close)
        yield from stages[-1]
