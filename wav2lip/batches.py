"""Batches of frames from a stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def in_batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of `size` frames, the last one shorter; each is emptied when the next is asked for."""
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch.clear()  # now, or the frames of two batches would be held
    if batch:
        yield batch
