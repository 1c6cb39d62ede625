"""Replay: general data mixed into the fine-tuning data, sample by sample, against forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.index import CounterRNG
from train.data.samples import GROUP_STREAM, BatchDataset
from train.data.sources import ReadCost
from wav2lip.dataset.packed import to_device

REPLAY_STREAM = GROUP_STREAM + 1  # random stream of its own, so that the choice is independent of the windows


class ReplayMixture(Dataset):
    """Numbered samples, each from one of two data sets; a function of the seed and the number."""

    def __init__(self, main: BatchDataset, replay: BatchDataset, fraction: float, seed: int):
        """fraction: share of samples from `replay`, between 0 and 1."""
        self.main, self.replay, self.fraction = main, replay, fraction
        self._rng = CounterRNG(seed, REPLAY_STREAM)

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips of `main`; a pass over the data is one sample for each."""
        return self.main.clips

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch: CACHED if either is, since no other process can read it."""
        both = {self.main.read_cost, self.replay.read_cost}
        return next(cost for cost in (ReadCost.CACHED, ReadCost.DECODED, ReadCost.MAPPED) if cost in both)

    def is_replay(self, numbers: Sequence[int]) -> Tensor:
        """(B,) bool: whether the samples with these numbers come from `replay`."""
        return self._rng.draw(numbers)[:, 0].double() / 2.0**63 < self.fraction

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """Read the batch of the samples with these numbers, in their order; each data set is read once."""
        replay = self.is_replay(numbers)
        main_rows, replay_rows = (~replay).nonzero().flatten(), replay.nonzero().flatten()
        batches = []
        if len(main_rows):
            batches.append(self.main.__getitems__([numbers[i] for i in main_rows.tolist()]))
        if len(replay_rows):
            batch = self.replay.__getitems__([numbers[i] for i in replay_rows.tolist()])
            batches.append(batch.from_second_dataset())
        if len(batches) == 1:
            return batches[0]
        order = torch.cat([main_rows, replay_rows]).argsort()
        return type(batches[0])(*(_concatenate(a, b, order) for a, b in zip(*batches, strict=True)))


def _concatenate(first: Tensor, second: Tensor, order: Tensor) -> Tensor:
    """Concatenate in an order; a tensor in host memory is moved to the device of the other."""
    device = second.device if first.device.type == "cpu" else first.device
    return torch.cat([to_device(first, device), to_device(second, device)]).index_select(0, to_device(order, device))
