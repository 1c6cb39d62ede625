"""What each validation reads: the fixed held-out windows, or new draws as in the release; each process its share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from lightning_fabric import Fabric

from train.data.feeding import feed
from train.data.held_out import everywhere, surrounded
from train.data.samples import Windows
from train.scores.shift_curve import OF_CURVE
from wav2lip.errors import InputError
from wav2lip.shift_curve import SHIFTS

log = logging.getLogger(__name__)

CURVE_WINDOWS = 64  # that the sound is slid against: 31 sounds each, which costs the expert as much as 200 pairs
CURVE_BATCH = 16  # of them at a time


class Validation:
    """Batches of held-out windows, as the loader gives them."""

    def __init__(
        self, fabric: Fabric, windows: Windows, batch_size: int, count: int | None, prefetch: int = 2, *,
        redrawn: bool = False,
    ):  # fmt: skip
        """count: samples in a validation, at most as many as there are; None: all there are.
        prefetch: batches that are made ahead.
        redrawn: draw new ones at each validation, as often the same as chance has it.
        Raises: InputError if there are too few for the processes.
        """
        self.fabric, self.windows, self.batch_size = fabric, windows, batch_size
        self.prefetch, self.redrawn = prefetch, redrawn
        self.fixed = everywhere(windows, count)
        self.around = surrounded(windows, min(CURVE_WINDOWS, len(self.fixed)), SHIFTS)
        self.count = count if redrawn and count is not None else len(self.fixed)  # of windows in a validation
        if len(self.fixed) < fabric.world_size:
            raise InputError(
                f"eval_windows: the held-out clips have {len(self.fixed)} windows, fewer than {fabric.world_size} "
                "processes; hold out more clips"
            )
        if count is not None and len(self.fixed) < count // windows.samples.kinds * windows.samples.kinds:
            log.info("eval_windows=%d: the held-out clips have %d, which are all used", count, len(self.fixed))
        if not len(self.around):
            log.warning(
                "no held-out clip has 0.6 s of sound around a window: validation has no offset, and no curve of "
                "distance against shift; hold out clips of 2 s or more"
            )

    def check(self, watched: str) -> None:
        """InputError if the score to be followed is one that these windows cannot give."""
        if watched in OF_CURVE and not len(self.around):
            raise InputError(
                f"watch={watched}: no held-out clip has 0.6 s of sound around a window, which it is measured on; hold "
                "out clips of 2 s or more, or watch another score"
            )

    def batches(self, step: int) -> Iterator[Any]:
        """This process's share of the validation after a step."""
        if self.redrawn:
            return self._read(self.windows, step * self.count, self.count, self.batch_size)
        return self._read(self.fixed, 0, len(self.fixed), self.batch_size)

    def batches_around(self) -> Iterator[Any]:
        """This process's share of the windows that come with the sounds at SHIFTS."""
        return self._read(self.around, 0, len(self.around), CURVE_BATCH)

    def _read(self, samples: Any, first: int, count: int, batch_size: int) -> Iterator[Any]:
        numbers = range(first + self.fabric.global_rank, first + count, self.fabric.world_size)
        return feed(samples, numbers, batch_size, 0, self.fabric.device.type == "cuda", self.prefetch)
