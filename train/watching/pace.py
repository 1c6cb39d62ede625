"""How fast training goes, and how much of the time it stands still for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Rates:
    """What a stretch of training came to, without validations and saving."""

    samples_per_second: float  # of all processes
    data_wait: float  # share of the time in which the loop stood still for the next batch, in [0, 1]
    seconds_a_step: float  # from the beginning on, with validations and saving: what the time left is reckoned by


class Pace:
    """Measures a training in stretches, from one report to the next.

    On a GPU the loop runs ahead of the device, so what counts is how long it is blocked, not how long a step takes. The
    clock starts with the first batch: until then workers start and nothing could be trained.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        """clock: seconds, from any moment on."""
        self._clock = clock
        self._started: float | None = None
        self._steps = 0
        self._begin()

    def _begin(self) -> None:
        self._began, self._waited, self._paused, self._samples = self._clock(), 0.0, 0.0, 0

    def waited(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, with the time noted that each was waited for."""
        while True:
            began = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            if self._started is None:
                self._started = self._clock()
                self._begin()
            else:
                self._waited += self._clock() - began
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside the block is of no stretch: validating, saving."""
        began = self._clock()
        try:
            yield
        finally:
            self._paused += self._clock() - began

    def stepped(self, samples: int) -> None:
        """An optimizer step was taken, with so many samples of all processes."""
        self._steps += 1
        self._samples += samples

    def take(self) -> Rates:
        """What the steps since the last call came to; there must have been one."""
        now = self._clock()
        started = now if self._started is None else self._started
        trained = now - self._began - self._paused
        rates = Rates(self._samples / trained, self._waited / trained, (now - started) / self._steps)
        self._begin()
        return rates
