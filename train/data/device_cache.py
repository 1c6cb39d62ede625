"""Cache of all clips in the memory of the training device: each crop is read and decoded once per run.

Batches are gathered there by row numbers computed on the host, which takes 0.3 ms per batch and never synchronizes with
the device. Every process of a run caches the whole data set. Letters: S spans of rows.
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

from train.data.sources import ClipFolderSource, PackedSource, ReadCost, Source
from wav2lip.audio.mel import MEL_BANDS
from wav2lip.dataset.packed import JpegRows, Rows
from wav2lip.devices import cpu_count
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

CHUNK_BYTES = 32 << 20  # bytes of crops that a thread reads at a time
MAX_DECODED_CROPS = 100_000  # with data_source=auto: 67 minutes of video, half a minute of decoding
CGROUP = Path("/sys/fs/cgroup")  # memory limits of a container


@dataclass(frozen=True)
class CacheBudget:
    """Memory for the cache."""

    device: torch.device
    fraction: float = 0.6  # share of the free memory
    processes: int = 1  # processes that cache in the same memory

    def free_bytes(self) -> int | None:
        """Bytes free now; None where the system does not report them."""
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0]
        return free_ram_bytes() if self.device.type == "cpu" else None


@dataclass(frozen=True)
class CachedTensors:
    """All crops and mels of some clips, a row for each crop and for each mel column."""

    crops: Rows
    mels: Rows


def maybe_cache(source: Source, data_source: str, budget: CacheBudget | None) -> Source:
    """Cache the clips in memory if `data_source` calls for it, and log the decision.

    data_source: "device" always caches; "auto" where it is faster and fits; anything else, or no budget, never.
    Raises: InputError with "device" if the clips do not fit or one is corrupt.
    """
    if budget is None or data_source not in ("auto", "device"):
        return source
    if not isinstance(source, ClipFolderSource | PackedSource):
        return source
    required, free = cache_bytes(source), budget.free_bytes()
    if data_source == "device" and free is not None and required > free:
        raise InputError(
            f"data_source=device: the clips take {_gigabytes(required)}, {budget.device} has {_gigabytes(free)} free; "
            "use data_source=auto to read them from disk"
        )
    if data_source == "auto" and (reason := _reason_not_to_cache(source, budget, required, free)):
        log.info("reading the dataset from disk: %s", reason)
        return source
    try:
        cached = cache_on(source, budget.device)
    except InputError as error:
        if data_source == "device":
            raise
        log.info("reading the dataset from disk: %s", error)
        return source
    suffix = "" if free is None else f" of {_gigabytes(free)} free"
    log.info("caching the dataset on %s (%s%s)", budget.device, _gigabytes(required), suffix)
    return cached


def _reason_not_to_cache(
    source: ClipFolderSource | PackedSource, budget: CacheBudget, required: int, free: int | None
) -> str:
    """Reason why data_source=auto reads from disk, or ""."""
    if source.read_cost is ReadCost.MAPPED and budget.device.type == "cpu":
        return "a raw pack is shared memory already"
    if free is None:
        return f"the free memory of {budget.device} is unknown; data_source=device caches anyway"
    limit = int(free * budget.fraction / budget.processes)
    if required > limit:
        return (
            f"it takes {_gigabytes(required)}, more than device_cache_fraction={budget.fraction} allows of the free "
            f"memory of {budget.device}, {_gigabytes(limit)}"
        )
    crops = int(source.runs.count.sum())
    if source.read_cost is ReadCost.DECODED and crops > MAX_DECODED_CROPS:
        return f"decoding {crops} crops first would take minutes; set data_source=device to do so, or use a raw pack"
    return ""


def cache_bytes(source: ClipFolderSource | PackedSource) -> int:
    """Bytes of memory that the clips take in the cache."""
    return int(source.runs.count.sum()) * 3 * source.size**2 + int(source.runs.mel_columns.sum()) * MEL_BANDS * 4


def cache_on(source: ClipFolderSource | PackedSource, device: torch.device) -> PackedSource:
    """Copy the clips to the memory of a device; samples are bit for bit the same.

    Raises: InputError if a crop or an audio file is corrupt.
    """
    runs, size = source.runs, source.size
    crops = torch.empty(int(runs.count.sum()), size, size, 3, dtype=torch.uint8, device=device)
    mels = torch.empty(int(runs.mel_columns.sum()), MEL_BANDS, device=device)
    if isinstance(source, PackedSource):
        first_crop = _copy_rows(source.store.crops, source.first_crop, runs.count, crops)
        first_column = _copy_rows(source.store.mels, source.first_column, runs.mel_columns, mels)
    else:
        first_crop, first_column = (count.cumsum(0) - count for count in (runs.count, runs.mel_columns))
        _fill(crops, _chunks(first_crop, runs.first, runs.count, _rows_per_chunk(crops), partial(_read_crops, source)))
        starts = torch.zeros_like(first_column)
        _fill(mels, _chunks(first_column, starts, runs.mel_columns, len(mels), partial(_read_mel, source)))
    return PackedSource(CachedTensors(Rows([crops]), Rows([mels])), source.names, runs, first_crop, first_column)


def _copy_rows(rows: Rows | JpegRows, first: Tensor, count: Tensor, target: Tensor) -> Tensor:
    """Fill a tensor with spans of rows, from row first (S,) on count (S,) each, in the order of the files.

    Returns: (S,) where each span starts in the target.
    """
    order, target_start = first.argsort(), torch.empty_like(first)
    target_start[order] = count[order].cumsum(0) - count[order]
    begin, end = first[order], (first + count)[order]
    tensor = torch.searchsorted(rows.ends, begin, right=True)
    separate = (begin[1:] != end[:-1]) | (tensor[1:] != tensor[:-1])  # adjacent spans are read as one
    begins = torch.cat([begin[:1], begin[1:][separate]])
    lengths = torch.cat([end[:-1][separate], end[-1:]]) - begins

    def read(_span: int, row: int, number: int) -> Tensor:
        return rows.windows(torch.tensor([row]), number)[0]

    _fill(target, _chunks(lengths.cumsum(0) - lengths, begins, lengths, _rows_per_chunk(target), read))
    return target_start


Chunk = tuple[int, int, Callable[[], Tensor]]  # first row in the target, number of rows, and a function that reads them


def _chunks(
    target_start: Tensor, first: Tensor, count: Tensor, max_rows: int, read: Callable[[int, int, int], Tensor]
) -> Iterator[Chunk]:
    """Split spans (S,) into chunks.

    target_start: where they start in the target. read: rows of a span, given its number, first row and row count.
    """
    for span, (begin, row, total) in enumerate(zip(target_start.tolist(), first.tolist(), count.tolist(), strict=True)):
        for done in range(0, total, max_rows):
            number = min(max_rows, total - done)
            yield begin + done, number, partial(read, span, row + done, number)


def _fill(target: Tensor, chunks: Iterable[Chunk]) -> None:
    """Copy chunks to their rows with several threads; reading and decoding release the GIL."""

    def copy(begin: int, number: int, read: Callable[[], Tensor]) -> None:
        target[begin : begin + number].copy_(read())

    with ThreadPoolExecutor(cpu_count()) as pool:
        copies = [pool.submit(copy, *chunk) for chunk in chunks]
        try:
            for each in copies:
                each.result()
        finally:
            for each in copies:
                each.cancel()


def _rows_per_chunk(target: Tensor) -> int:
    return max(1, CHUNK_BYTES // (target[0].numel() * target.element_size()))


def _read_crops(source: ClipFolderSource, run: int, first: int, count: int) -> Tensor:
    clip = source.clips[int(source.runs.clip[run])]
    return torch.from_numpy(np.stack([clip.read(frame, source.size) for frame in range(first, first + count)]))


def _read_mel(source: ClipFolderSource, clip: int, _first: int, count: int) -> Tensor:
    """All mel columns of a clip, a row each."""
    return torch.from_numpy(np.ascontiguousarray(source.load_mel(source.clips[clip], count)[:, :count].T))


def free_ram_bytes() -> int | None:
    """Bytes of memory still available to this process, within its container's limit; None except on Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    (available,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return available  # no container, or cgroups of version 1
    return available if limit == "max" else max(0, min(available, int(limit) - int(used)))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
