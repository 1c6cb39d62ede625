"""Samples per second, and the share of time in which the loop waits for data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from train.callbacks.base import Callback
from train.checkpoint.state import TrainState

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Rates:
    """Speed between two reports, without validation and saving."""

    samples_per_second: float  # all processes together
    data_wait: float  # share of the time in which the loop waits for the next batch, in [0, 1]
    seconds_per_step: float  # since the start, validation and saving included: for the remaining time


class Throughput(Callback):
    """Measures the loop between reports.

    On a GPU the loop runs ahead of the device, so blocked time is measured, not the length of a step.
    The clock starts with the first batch, because the workers start before it.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        """clock: returns seconds since an arbitrary moment."""
        self.rates = Rates(0.0, 0.0, 0.0)  # rates at the last report
        self._clock = clock
        self._start_time: float | None = None  # time of the first batch
        self._steps = 0
        self._samples_before = 0
        self._idle_since: float | None = None  # end of the last step or report
        self._reset()

    def _reset(self) -> None:
        self._report_time, self._samples = self._clock(), 0  # time of the last report
        self._wait_seconds = self._idle_seconds = 0.0

    def time_batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches and measure the wait for each."""
        while True:
            wait_start = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            if self._start_time is None:
                self._start_time = self._clock()
                self._reset()
            else:
                self._wait_seconds += self._clock() - wait_start
            yield batch

    def on_step_start(self, state: TrainState) -> None:
        """Exclude the time since the last step or report, in which the loop validates and saves."""
        if self._idle_since is not None and self._start_time is not None:
            self._idle_seconds += self._clock() - self._idle_since
        self._samples_before = state.samples

    def on_step(self, state: TrainState) -> None:
        """Count a step."""
        self.count_step(state.samples - self._samples_before)

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Compute the rates since the last report; the time to read the means, which waits for the device, counts."""
        self.rates = self.pop()

    def count_step(self, samples: int) -> None:
        """Count a step; samples: of all processes."""
        self._steps += 1
        self._samples += samples
        self._idle_since = self._clock()

    def pop(self) -> Rates:
        """Return the rates since the last call, in which there was at least one step."""
        now = self._clock()
        start_time = now if self._start_time is None else self._start_time
        seconds = now - self._report_time - self._idle_seconds
        rates = Rates(self._samples / seconds, self._wait_seconds / seconds, (now - start_time) / self._steps)
        self._reset()
        self._idle_since = now
        return rates

    def scalars(self) -> dict[str, float]:
        """Return the rates of the last report as curves."""
        return {"samples_per_second": self.rates.samples_per_second, "data_wait": self.rates.data_wait}
