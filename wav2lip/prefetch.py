"""Pipeline stages that run concurrently, each in a thread a few items ahead of its consumer."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MAX_QUEUE_BYTES = 64 << 20  # per queue: 8 or more frames of 1920 x 1080, 2 of 3840 x 2160


def prefetch(items: Generator[T, None, None], size: int, nbytes: Callable[[T], int]) -> Generator[T, None, None]:
    """Yield the items in order, computed ahead in another thread.

    At most `size` items are queued, fewer if the first one's `nbytes` is large. Exceptions are raised in order. When
    this generator is closed or ends, `items` is closed in its thread, so that its files are closed on return.
    """
    end = object()
    queue: deque[Future[T | object]] = deque()
    limit = 1  # until the size of the first item is known
    with ThreadPoolExecutor(1) as thread:
        try:
            for number in itertools.count():
                while len(queue) < limit:
                    queue.append(thread.submit(next, items, end))
                item = queue.popleft().result()
                if item is end:
                    return
                if not number:
                    limit = queue_size(size, nbytes(item))  # type: ignore[arg-type]  # it is not `end`
                    queue.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            for future in queue:
                future.cancel()
            thread.submit(items.close).result()


def queue_size(size: int, nbytes: int) -> int:
    """Return the number of items of `nbytes` to queue: at least 1, at most `size`, within `MAX_QUEUE_BYTES`."""
    return max(1, min(size, MAX_QUEUE_BYTES // max(1, nbytes)))


def close_together(*stages: Generator[Any, None, None]) -> Generator[Any, None, None]:
    """Yield the items of the last of several chained stages; when this is closed or ends, close all of them.

    Otherwise the resources of a stage, such as a thread, would live as long as an exception's traceback.
    """
    with contextlib.ExitStack() as closing:
        for stage in stages:  # the last one is closed first
            closing.callback(stage.close)
        yield from stages[-1]
