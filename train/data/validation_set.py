"""Validation windows: the same in every validation and for every seed, spread evenly over all validation clips.

Their order is shuffled once, so that any prefix is spread evenly too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from train.data.index import CounterRNG, first_columns, from_position, last_audio_frame
from train.data.samples import SampleIndices, Samples, WindowDataset
from train.data.sources import ReadCost, Source
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

VALIDATION_SEED = 0  # draws references, mismatched windows and the order


class ValidationSet(Dataset):
    """A fixed list of samples, read a batch at a time."""

    def __init__(
        self, source: Source, samples: Samples, indices: SampleIndices, audio_offsets: Sequence[int] | None = None
    ):
        """indices: of all samples, numbered from 0.
        audio_offsets: replace the audio of each sample by the windows at these offsets in frames.
        """
        self.source, self.samples, self.indices, self.audio_offsets = source, samples, indices, audio_offsets

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.source.names

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""
        return self.source.read_cost

    def __len__(self) -> int:
        return len(self.indices.clip)

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """Read the batch of the samples with these numbers; corrupt ones are logged and skipped.

        Raises: InputError if all of them are corrupt.
        """
        try:
            return self._read(numbers)
        except InputError as error:
            singles = list(filter(None, map(self._read_or_skip, numbers)))
            if not singles:
                raise InputError(f"all samples of a validation batch are corrupt: {error}") from error
            return type(singles[0])(*map(torch.cat, zip(*singles, strict=True)))

    def _read_or_skip(self, number: int) -> Any:
        try:
            return self._read([number])
        except InputError as error:
            log.warning("skipping a validation sample: %s", error)
            return None

    def _read(self, numbers: Sequence[int]) -> Any:
        rows = torch.tensor(numbers)
        indices = SampleIndices(*(column[rows] for column in self.indices))
        batch = self.samples.read(self.source, indices)
        if self.audio_offsets is None:
            return batch
        frames = indices.anchor[:, None] + torch.tensor(self.audio_offsets)
        return batch.with_audio(self.source.mels(indices.clip, first_columns(frames)))


def build_validation_set(dataset: WindowDataset, count: int | None) -> ValidationSet:
    """Choose `count` samples, or as many as there are; None: all.

    For the expert each anchor comes twice, with matching and with mismatched faces.
    """
    clip, anchor = from_position(dataset.index.anchors)
    anchors = len(clip) if count is None else max(1, count // dataset.samples.validation_variants)
    variants, order = _choose(dataset, clip, anchor, anchors)
    columns = (torch.stack([column[order] for column in each], dim=1).flatten() for each in zip(*variants, strict=True))
    return ValidationSet(dataset.source, dataset.samples, SampleIndices(*columns))


def build_offset_set(dataset: WindowDataset, count: int, audio_offsets: Sequence[int]) -> ValidationSet:
    """Choose at most `count` samples, each with complete audio at all offsets; empty if no anchor has that much."""
    clip, anchor = from_position(dataset.index.anchors)
    last = last_audio_frame(dataset.index.runs.mel_columns)[clip]
    complete = (anchor + min(audio_offsets) >= 0) & (anchor + max(audio_offsets) <= last)
    (matching, *_), order = _choose(dataset, clip[complete], anchor[complete], count)
    indices = SampleIndices(*(column[order] for column in matching))
    return ValidationSet(dataset.source, dataset.samples, indices, audio_offsets)


def _choose(dataset: WindowDataset, clip: Tensor, anchor: Tensor, count: int) -> tuple[list[SampleIndices], Tensor]:
    """Indices of evenly spread anchors for each variant of the samples, and a shuffled order."""
    chosen = spread_evenly(clip, count)
    words = CounterRNG(VALIDATION_SEED).draw(range(len(chosen))) if len(chosen) else clip.new_empty(0, 4)
    variants = dataset.samples.choose_for_validation(dataset.index, clip[chosen], anchor[chosen], words[:, 0])
    return variants, words[:, 1].argsort()


def spread_evenly(clip: Tensor, count: int) -> Tensor:
    """Choose items evenly over clips and within them.

    clip: (N,) ascending, the clip of each item.
    Returns: `count` of the numbers 0 to N - 1, ascending; all if there are no more. With at least as many items as
        clips, each clip has one and long clips have the others; else evenly spaced clips have one each.
    """
    count = min(count, len(clip))
    if count == 0:
        return clip.new_empty(0)
    sizes = clip.unique_consecutive(return_counts=True)[1]
    if count < len(sizes):
        quota = torch.zeros_like(sizes)
        quota[(2 * torch.arange(count) + 1) * len(sizes) // (2 * count)] = 1
    else:
        room = (sizes - 1).cumsum(0)
        shares = room * (count - len(sizes)) // room[-1].clamp(min=1)  # rounding running totals loses no item
        quota = 1 + shares.diff(prepend=shares.new_zeros(1))
    owner = torch.repeat_interleave(quota)
    nth = torch.arange(count) - (quota.cumsum(0) - quota)[owner]
    begin = (sizes.cumsum(0) - sizes)[owner]
    return begin + (2 * nth + 1) * sizes[owner] // (2 * quota[owner])  # midpoints of equal parts
