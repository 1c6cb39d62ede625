"""The windows that a trainer is validated on: always the same ones, whatever the seed of the training.

They lie evenly over all held-out clips. Their order is shuffled once and for all, so that any part of them does too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.draws import Words, first_columns, last_heard
from train.data.samples import Picks, Samples, Windows
from train.data.sources import Reading, Source
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

SEED = 0  # of references, of wrong windows and of the order


class HeldOut(Dataset):
    """Samples that were picked once, made a batch at a time."""

    def __init__(self, source: Source, samples: Samples, picks: Picks, shifts: Sequence[int] | None = None):
        """picks: of all the samples, whose numbers are their places in it.
        shifts: give each sample the sounds so many frames after its lips instead of the one under them.
        """
        self.source, self.samples, self.picks, self.shifts = source, samples, picks, shifts

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.source.names

    @property
    def reading(self) -> Reading:
        """What it costs to read a batch."""
        return self.source.reading

    def __len__(self) -> int:
        return len(self.picks.clip)

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """The batch of the samples with these numbers, without those that are damaged, which the log names.

        Raises: InputError if all of them are.
        """
        try:
            return self._read(numbers)
        except InputError as error:
            whole = list(filter(None, map(self._whole, numbers)))
            if not whole:
                raise InputError(f"a whole batch of validation is damaged: {error}") from error
            return type(whole[0])(*map(torch.cat, zip(*whole, strict=True)))

    def _whole(self, number: int) -> Any:
        try:
            return self._read([number])
        except InputError as error:
            log.warning("left out of validation: %s", error)
            return None

    def _read(self, numbers: Sequence[int]) -> Any:
        picks = Picks(*(part[torch.tensor(numbers, device=part.device)] for part in self.picks))
        batch = self.samples.gather(self.source, picks)
        if self.shifts is None:
            return batch
        heard = picks.anchor[:, None] + torch.tensor(self.shifts, device=picks.anchor.device)
        return batch.hearing(self.source.mels(picks.clip, first_columns(heard)))


def everywhere(windows: Windows, count: int | None) -> HeldOut:
    """As many samples as asked for, or as there are; None: all.

    Of the expert's, every anchor is in it once with its own mouth and once with another.
    """
    clip, anchor = windows.windows.all_anchors()
    asked = len(clip) if count is None else max(1, count // windows.samples.kinds)
    kinds, order = _picks(windows, clip, anchor, asked)
    together = (torch.stack([part[order] for part in parts], dim=1).flatten() for parts in zip(*kinds, strict=True))
    return HeldOut(windows.source, windows.samples, Picks(*together))


def surrounded(windows: Windows, count: int, shifts: Sequence[int]) -> HeldOut:
    """At most `count` samples of lips, each with whole sounds at all shifts in place of the one under them.

    Empty if no anchor has so much sound around it.
    """
    clip, anchor = windows.windows.all_anchors()
    last = last_heard(windows.windows.runs.columns)[clip]
    inside = (anchor + min(shifts) >= 0) & (anchor + max(shifts) <= last)
    (own, *_), order = _picks(windows, clip[inside], anchor[inside], count)
    return HeldOut(windows.source, windows.samples, Picks(*(part[order] for part in own)), shifts)


def _picks(windows: Windows, clip: Tensor, anchor: Tensor, count: int) -> tuple[list[Picks], Tensor]:
    """Picks of even ones of these anchors, of each kind that the samples have, and the order to take them in."""
    chosen = evenly(clip, count)
    words = Words(SEED, 1).of(range(len(chosen)), 0, 2).to(clip.device)
    kinds = windows.samples.of_each_kind(windows.windows, clip[chosen], anchor[chosen], words[:, 0])
    return kinds, words[:, 1].argsort()


def evenly(clip: Tensor, count: int) -> Tensor:
    """Choose places evenly.

    clip: (N,) ascending, the clip that each place is of.
    Returns: `count` of the numbers 0 to N - 1, ascending; all if there are no more. If there are as many as clips, each
        clip has one, and long clips have the others; else clips at even distances have one each.
    """
    count = min(count, len(clip))
    if count == 0:
        return clip.new_empty(0)
    sizes = clip.unique_consecutive(return_counts=True)[1]
    if count < len(sizes):
        quota = torch.zeros_like(sizes)
        quota[(2 * torch.arange(count, device=clip.device) + 1) * len(sizes) // (2 * count)] = 1
    else:
        room = (sizes - 1).cumsum(0)
        shares = room * (count - len(sizes)) // room[-1].clamp(min=1)  # cut where they are summed up: none is lost
        quota = 1 + shares.diff(prepend=shares.new_zeros(1))
    of_clip = torch.repeat_interleave(quota)
    nth = torch.arange(count, device=clip.device) - (quota.cumsum(0) - quota)[of_clip]
    begin = (sizes.cumsum(0) - sizes)[of_clip]
    return begin + (2 * nth + 1) * sizes[of_clip] // (2 * quota[of_clip])  # the middles of equal parts
