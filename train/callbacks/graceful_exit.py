"""Save before leaving on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric

from train.callbacks.base import Callback, Stop
from train.checkpoint.state import TrainState

AGREEMENT_INTERVAL_STEPS = 10  # processes compare their signals at these steps, which waits for the device


class GracefulExit(Callback):
    """Turns the first SIGINT or SIGTERM into a stop request; a second one kills as usual."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.signal = 0
        self._previous: dict[int, Any] = {}

    def on_start(self, state: TrainState) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._record)

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, self._previous[number])

    def stop(self, state: TrainState) -> Stop | None:
        """Return a stop request after a signal; all processes stop at one step, or they would wait forever."""
        number = self.signal
        if self.fabric.world_size > 1:
            if state.step % AGREEMENT_INTERVAL_STEPS:
                return None
            largest: Any = self.fabric.all_reduce(torch.tensor(float(number)), reduce_op="max")
            number = int(largest.item())
        if not number:
            return None
        return Stop(f"stopped by {signal.Signals(number).name} (resume=true continues)", exit_code=128 + number)

    def on_end(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
