"""Prefetching is bounded by items and bytes, and stages are closed together."""

import threading

import pytest

from wav2lip.prefetch import MAX_QUEUE_BYTES, close_together, prefetch


def record_items(computed, closing_threads):
    """Yield 100 numbers; records them when they are computed, and the thread that closes the generator."""
    try:
        for number in range(100):
            computed.append(number)
            yield number
    finally:
        closing_threads.append(threading.current_thread().name)


@pytest.mark.parametrize(("nbytes", "limit"), [
    (1, 5), (MAX_QUEUE_BYTES // 5, 5), (MAX_QUEUE_BYTES // 2, 2), (MAX_QUEUE_BYTES, 1), (9 * MAX_QUEUE_BYTES, 1),
])  # fmt: skip
def test_prefetch_is_bounded_by_items_and_bytes(nbytes, limit):
    computed, closing_threads = [], []
    items = prefetch(record_items(computed, closing_threads), 5, lambda _: nbytes)
    for number in range(20):
        assert next(items) == number
    threading.Event().wait(0.2)  # time for the thread to fill the queue
    assert 20 <= len(computed) <= 20 + limit
    items.close()
    (name,) = closing_threads
    assert name != threading.current_thread().name
    assert not any(thread.name == name for thread in threading.enumerate())


def test_prefetch_preserves_order_and_end():
    assert list(prefetch(record_items([], []), 3, lambda _: 1)) == list(range(100))
    assert list(prefetch((n for n in ()), 3, lambda _: 1)) == []


def test_close_together_closes_stages_from_last_to_first():
    closed = []

    def stage(name):
        try:
            yield from range(9)
        finally:
            closed.append(name)

    stages = [stage(name) for name in "abc"]
    for iterator in stages:
        next(iterator)
    combined = close_together(*stages)
    assert next(combined) == 1
    combined.close()
    assert closed == ["c", "b", "a"]
