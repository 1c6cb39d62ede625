"""Clips held whole in the memory of the training device: each crop is read, and decoded, once for all of training.

Batches are gathered there by row numbers that are worked out on the host, which takes 0.3 ms for a batch and never
waits for the device. Every process of a training holds the whole set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.data.sources import Folders, Packed, Reading, Source
from wav2lip.audio import MEL_BANDS
from wav2lip.devices import cores
from wav2lip.errors import InputError
from wav2lip.packed import JpegRows, Rows

log = logging.getLogger(__name__)

PIECE_BYTES = 32 << 20  # of crops that a thread reads at a time
DECODED_AT_MOST = 100_000  # crops that data=auto decodes before the first step: 67 minutes of video, half a minute
GROUPS = Path("/sys/fs/cgroup")  # limits of a container's memory


@dataclass(frozen=True)
class Memory:
    """The memory that clips may be held in."""

    device: torch.device
    share: float = 0.6  # of what is free; the rest is for training
    processes: int = 1  # that hold clips in the same memory

    def free(self) -> int | None:
        """Bytes free now; None where the system does not tell."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        return free_ram() if self.device.type == "cpu" else None


@dataclass(frozen=True)
class Held:
    """All crops and mels of some clips, a row for each crop and for each mel column."""

    crops: Rows
    mels: Rows


def settled(source: Source, form: str, memory: Memory | None) -> Source:
    """The clips held in memory if that is what `form` asks for, else as they are; the log says which and why.

    form: "device" holds them in any case; "auto" where it pays and they fit; anything else, or no memory, never.
    Raises: InputError if form is "device" and they do not fit or one is damaged.
    """
    if memory is None or form not in ("auto", "device") or not isinstance(source, Folders | Packed):
        return source
    needed, free = bytes_of(source), memory.free()
    limit = free if form == "device" or free is None else int(free * memory.share / memory.processes)
    why_not = _why_not(source, memory, needed, limit) if form == "auto" else ""
    if form == "device" and limit is not None and needed > limit:
        raise InputError(
            f"data=device: the clips take {_gigabytes(needed)} and {memory.device} has {_gigabytes(limit)} free; "
            "choose data=auto, which reads them from disk"
        )
    if why_not:
        log.info("reads them from disk as it trains: %s", why_not)
        return source
    try:
        found = held(source, memory.device)
    except InputError as error:
        if form == "device":
            raise
        log.info("reads them from disk as it trains: %s", error)
        return source
    of_free = "" if free is None else f" of {_gigabytes(free)} free"
    log.info("holds them in the memory of %s: %s%s", memory.device, _gigabytes(needed), of_free)
    return found


def _why_not(source: Folders | Packed, memory: Memory, needed: int, limit: int | None) -> str:
    """Why data=auto leaves clips where they are, or ""."""
    if source.reading is Reading.GATHERED and memory.device.type == "cpu":
        return "a raw pack is shared memory already"
    if limit is None:
        return f"how much memory {memory.device} has free is not known; data=device holds them there all the same"
    if needed > limit:
        return (
            f"they take {_gigabytes(needed)}, more than data_memory={memory.share} allows of what {memory.device} "
            f"has free, {_gigabytes(limit)}"
        )
    crops = int(source.runs.count.sum())
    if source.reading is Reading.DECODED and crops > DECODED_AT_MOST:
        return f"to decode {crops} crops first would take minutes; data=device does so, and a raw pack needs none of it"
    return ""


def bytes_of(source: Folders | Packed) -> int:
    """What its clips take as held."""
    return int(source.runs.count.sum()) * 3 * source.size**2 + int(source.runs.columns.sum()) * MEL_BANDS * 4


def held(source: Folders | Packed, device: torch.device) -> Packed:
    """The same clips in the memory of a device; samples from it are bit for bit the same.

    Raises: InputError if a crop or a sound is damaged.
    """
    runs, size = source.runs, source.size
    crops = torch.empty(int(runs.count.sum()), size, size, 3, dtype=torch.uint8, device=device)
    mels = torch.empty(int(runs.columns.sum()), MEL_BANDS, device=device)
    if isinstance(source, Packed):
        crop_at = _copy_rows(source.pack.crops, source.first_crop, runs.count, crops)
        column_at = _copy_rows(source.pack.mels, source.first_column, runs.columns, mels)
    else:
        crop_at, column_at = (count.cumsum(0) - count for count in (runs.count, runs.columns))
        _fill(crops, _pieces(crop_at, runs.first, runs.count, _rows_at_once(crops), partial(_read_crops, source)))
        _fill(
            mels, _pieces(column_at, torch.zeros_like(column_at), runs.columns, len(mels), partial(_read_mel, source))
        )
    return Packed(Held(Rows([crops]), Rows([mels])), source.names, runs, crop_at, column_at)


def _copy_rows(rows: Rows | JpegRows, first: Tensor, count: Tensor, target: Tensor) -> Tensor:
    """Fill a tensor with stretches of rows, from row first (S,) on count (S,) each, in the order of the files.

    Returns: (S,) where in the target each stretch begins.
    """
    order, at = first.argsort(), torch.empty_like(first)
    at[order] = count[order].cumsum(0) - count[order]
    begin, end = first[order], (first + count)[order]
    part = torch.searchsorted(rows.ends, begin, right=True)
    apart = (begin[1:] != end[:-1]) | (part[1:] != part[:-1])  # those that follow one another are read as one
    begins = torch.cat([begin[:1], begin[1:][apart]])
    lengths = torch.cat([end[:-1][apart], end[-1:]]) - begins

    def read(_stretch: int, row: int, number: int) -> Tensor:
        return rows.windows(torch.tensor([row]), number)[0]

    _fill(target, _pieces(lengths.cumsum(0) - lengths, begins, lengths, _rows_at_once(target), read))
    return at


Piece = tuple[int, int, Callable[[], Tensor]]  # first row of a target, how many, and what reads them


def _pieces(
    at: Tensor, first: Tensor, count: Tensor, most: int, read: Callable[[int, int, int], Tensor]
) -> Iterator[Piece]:
    """Stretches (S,) cut into pieces of so many rows at most.

    at: where they begin in the target. read: rows of a stretch: its number, first row, how many.
    """
    for stretch, (begin, row, left) in enumerate(zip(at.tolist(), first.tolist(), count.tolist(), strict=True)):
        for done in range(0, left, most):
            number = min(most, left - done)
            yield begin + done, number, partial(read, stretch, row + done, number)


def _fill(target: Tensor, pieces: Iterable[Piece]) -> None:
    """Copy pieces to their places; several threads read them, since reading and decoding lets others run."""

    def copy(begin: int, number: int, read: Callable[[], Tensor]) -> None:
        target[begin : begin + number].copy_(read())

    with ThreadPoolExecutor(cores()) as pool:
        copies = [pool.submit(copy, *piece) for piece in pieces]
        try:
            for each in copies:
                each.result()
        finally:
            for each in copies:
                each.cancel()


def _rows_at_once(target: Tensor) -> int:
    return max(1, PIECE_BYTES // (target[0].numel() * target.element_size()))


def _read_crops(source: Folders, run: int, first: int, count: int) -> Tensor:
    clip = source.clips[int(source.runs.clip[run])]
    return torch.from_numpy(np.stack([clip.read(frame, source.size) for frame in range(first, first + count)]))


def _read_mel(source: Folders, clip: int, _first: int, count: int) -> Tensor:
    """All columns of a clip, a row each."""
    return torch.from_numpy(np.ascontiguousarray(source.whole_mel(source.clips[clip], count)[:, :count].T))


def free_ram() -> int | None:
    """Bytes of memory that this process could still take, within its container's limit; None but on Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    (available,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit, used = ((GROUPS / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return available  # no container, or one of the older kind
    return available if limit == "max" else max(0, min(available, int(limit) - int(used)))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
