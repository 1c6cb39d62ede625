"""Stages that work at the same time: each runs a few items ahead of the one that takes from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None], size: int) -> Generator[T, None, None]:
    """The same items in order, made in a thread of their own, at most `size` of them before they are asked for.

    What goes wrong while one is made is raised where it is asked for. When this is closed, or ends, `items` is closed
    in its thread, so that files it holds are closed before the caller goes on.
    """
    end = object()
    waiting: deque[Future[T | object]] = deque()
    with ThreadPoolExecutor(1) as thread:
        try:
            while True:
                while len(waiting) < size:
                    waiting.append(thread.submit(next, items, end))
                item = waiting.popleft().result()
                if item is end:
                    return
                yield item  # type: ignore[misc]  # it is not `end`
        finally:
            for later in waiting:
                later.cancel()
            thread.submit(items.close).result()
