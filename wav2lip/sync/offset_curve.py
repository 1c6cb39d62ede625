"""Distance of lips and audio as a function of the shift between them, averaged over the windows of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wav2lip.sync.expert import MAX_SHIFT, StreamingExpert

SHIFTS = range(-MAX_SHIFT, MAX_SHIFT + 1)  # frames by which the audio lags the video; 0 is as recorded


@dataclass(frozen=True)
class OffsetCurve:
    """Mean distance of lips and audio at every shift, with a minimum at the true offset.

    An expert that relies on the speaker or the room instead of the lips gives a flat curve.
    """

    distance: np.ndarray  # (2 * max_shift + 1,) float; SyncNet: 1 - cosine, in [0, 1]

    @property
    def offset(self) -> int:
        """Frames by which the audio lags the video: the shift with the smallest distance."""
        return int(self.distance.argmin()) - len(self.distance) // 2

    @property
    def agreement(self) -> float:
        """1 - distance without a shift; SyncNet: the cosine."""
        return 1 - float(self.distance[len(self.distance) // 2])

    @property
    def min_distance(self) -> float:
        """Distance at `offset`; LSE-D for SyncNet v2."""
        return float(self.distance.min())

    @property
    def confidence(self) -> float:
        """Median minus minimum of the curve, near 0 without sync; LSE-C for SyncNet v2."""
        return float(np.median(self.distance)) - self.min_distance


def cosine_distance(lips: Tensor, audio: Tensor) -> Tensor:
    """Return 1 - cosine along the last dimension."""
    return 1 - F.cosine_similarity(audio, lips, dim=-1)


class MeanCurve:
    """Mean distance at each shift, accumulated over batches of windows."""

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor], max_shift: int = MAX_SHIFT):
        self.distance = distance
        # Sums of distances, and the number of windows; one tensor, so that it can be summed over processes.
        self.sums = torch.zeros(2 * max_shift + 2, dtype=torch.float64)

    def update(self, lips: Tensor, audio: Tensor) -> None:
        """lips: (B, D). audio: (B, 2 * max_shift + 1, D), each window's audio at every shift."""
        self.sums[:-1] += self.distance(lips[:, None], audio).cpu().double().sum(dim=0)
        self.sums[-1] += len(lips)

    def compute(self) -> OffsetCurve | None:
        """Return the mean curve; None without windows."""
        return OffsetCurve((self.sums[:-1] / self.sums[-1]).numpy()) if self.sums[-1] else None


def offset_curve(
    expert: StreamingExpert, frames: Iterable[np.ndarray | None], wav: np.ndarray, max_shift: int = MAX_SHIFT
) -> OffsetCurve | None:
    """Return the mean distance of lips and audio at every shift from -max_shift to max_shift.

    frames, wav: as for `StreamingExpert.embed_stream`; few frames are in memory at any time.
    Returns: None if no window is complete.
    """
    mean = MeanCurve(expert.distance, max_shift)
    for lips, audio in shifted_windows(expert, frames, wav, max_shift):
        mean.update(lips, audio)
    return mean.compute()


def shifted_windows(
    expert: StreamingExpert, frames: Iterable[np.ndarray | None], wav: np.ndarray, max_shift: int = MAX_SHIFT
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield lips (B, D) and audio (B, 2 * max_shift + 1, D) of the complete windows of a video."""
    # Missing frames at the end, so that the last lips are compared with audio after them too.
    missing = repeat(None, 0 if expert.pads_audio else max_shift)
    yield from shift_audio(expert.embed_stream(chain(frames, missing), wav), max_shift, expert.pads_audio)


def shift_audio(
    pairs: Iterable[tuple[Tensor, Tensor]], max_shift: int, pads_audio: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair lips with the audio at every shift; no more than one block and 2 * max_shift rows are in memory.

    pairs: lips and audio of the same windows in time order, block by block, (B, D) each; lips of NaN are skipped.
    pads_audio: audio outside the recording counts as zeros; else windows that lack audio are skipped.
    Yields: (b, D) and (b, 2 * max_shift + 1, D), column 0 for a shift of -max_shift.
    """
    skip = 0 if pads_audio else max_shift  # windows without audio before them
    lips = audio = torch.zeros(0, 0)
    for more_lips, more_audio in _with_padding(pairs, max_shift if pads_audio else 0):
        lips = torch.cat([lips, more_lips]) if len(lips) else more_lips
        audio = torch.cat([audio, more_audio]) if len(audio) else more_audio
        skipped = min(skip, len(lips))
        lips, skip = lips[skipped:], skip - skipped
        ready = min(len(audio) - 2 * max_shift, len(lips))  # windows with audio at every shift
        if ready > 0:
            shifted = audio.unfold(0, 2 * max_shift + 1, 1)[:ready].transpose(1, 2)  # (ready, shifts, D)
            is_complete = ~lips[:ready].isnan().any(dim=1)
            yield lips[:ready][is_complete], shifted[is_complete]
            lips, audio = lips[ready:], audio[ready:]


def _with_padding(pairs: Iterable[tuple[Tensor, Tensor]], padding: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Add `padding` rows of zeros before and after the audio."""
    zeros = None
    for lips, audio in pairs:
        if zeros is None:
            zeros = audio.new_zeros(padding, audio.shape[1])
            yield lips[:0], zeros
        yield lips, audio
    if zeros is not None:
        yield zeros[:0], zeros
