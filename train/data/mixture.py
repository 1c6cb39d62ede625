"""One data set's samples with another's among them: one person's video beside general data, against forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.draws import Words
from train.data.samples import SampleSet
from train.data.sources import Reading
from wav2lip.packed import sent


class Mixture(Dataset):
    """Numbered samples, each of one of two data sets, by the sample's own random words."""

    def __init__(self, own: SampleSet, general: SampleSet, share: float, seed: int):
        """share: of samples that come from `general`, between 0 and 1.
        seed: with the number of a sample it determines where the sample comes from.
        """
        self.own, self.general, self.share = own, general, share
        self._words = Words(seed, 1)

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips of `own`: it is these that are learned, and a pass is one sample for each."""
        return self.own.clips

    @property
    def reading(self) -> Reading:
        """What it takes to make a batch: held, if one of the two is, since no other process could read it."""
        both = {self.own.reading, self.general.reading}
        return next(reading for reading in (Reading.HELD, Reading.DECODED, Reading.GATHERED) if reading in both)

    def from_general(self, numbers: Sequence[int]) -> Tensor:
        """(B,) bool: whether the samples with these numbers come from `general`.

        The word is one that the draw of a window leaves unused, so neither choice depends on the other.
        """
        return self._words.of(numbers, 0, 5)[:, 4].double() / 2.0**63 < self.share

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """The batch of the samples with these numbers, in their order; each data set is read in one go."""
        general = self.from_general(numbers)
        own_rows, general_rows = (~general).nonzero().flatten(), general.nonzero().flatten()
        read = []
        if len(own_rows):
            read.append(self.own.__getitems__([numbers[i] for i in own_rows.tolist()]))
        if len(general_rows):
            read.append(self.general.__getitems__([numbers[i] for i in general_rows.tolist()]).of_another_set())
        if len(read) == 1:
            return read[0]
        order = torch.cat([own_rows, general_rows]).argsort()
        return type(read[0])(*(_joined(a, b, order) for a, b in zip(*read, strict=True)))


def _joined(part: Tensor, other: Tensor, order: Tensor) -> Tensor:
    """Both on one device, in an order; if one lies in host memory, it is sent after the other."""
    device = other.device if part.device.type == "cpu" else part.device
    return torch.cat([sent(part, device), sent(other, device)]).index_select(0, sent(order, device))
