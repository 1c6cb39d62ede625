"""Reader of packs: memory-mapped files from which windows of crops and mels are gathered a batch at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from wav2lip.audio.mel import MEL_BANDS
from wav2lip.audio.windows import FPS
from wav2lip.dataset.clip import AUDIO
from wav2lip.dataset.shards import (
    CROPS,
    INDEX,
    MELS,
    OFFSETS,
    REPACK,
    PackManifest,
    Shard,
    checksum,
    corrupt_shard,
    fingerprint_clip,
    latest_entries,
)
from wav2lip.errors import InputError


class FileMap:
    """A memory-mapped file with explicit readahead.

    By default the operating system reads up to megabytes around every touched page; with madvise it reads only the
    prefetched ranges, each in one request.
    """

    def __init__(self, path: Path):
        """Processes that map the same file share its pages. Writes to `bytes` do not reach the file."""
        self._map: mmap.mmap | None = None
        self.bytes = torch.empty(0, dtype=torch.uint8)
        if path.stat().st_size:  # an empty file cannot be mapped
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)
            if hasattr(mmap, "MADV_RANDOM"):  # not on Windows
                self._map.madvise(mmap.MADV_RANDOM)

    def prefetch(self, begin: int, end: int) -> None:
        """Start reading these bytes in the background."""
        if self._map is not None and hasattr(mmap, "MADV_WILLNEED"):
            begin -= begin % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, begin, end - begin)


class Rows:
    """Rows of one shape, numbered consecutively over one or several tensors."""

    def __init__(self, tensors: Sequence[Tensor], maps: Sequence[FileMap] = ()):
        """tensors: (n, ...) each. maps: their files, for prefetching."""
        self.tensors, self.maps = tensors, maps
        self.ends = torch.tensor([len(tensor) for tensor in tensors]).cumsum(0)

    def windows(self, first: Tensor, length: int) -> Tensor:
        """Gather windows (B, length, ...) that start at rows (B,) int64; none may cross the end of a tensor.

        A single tensor may be on any device, where the windows are gathered; row numbers are on the CPU.
        """
        if self.maps:
            row_bytes = self.tensors[0][0].nbytes
            for number, row in locate_rows(self.ends, first):
                self.maps[number].prefetch(row * row_bytes, (row + length) * row_bytes)
        if len(self.tensors) == 1:
            rows = first[:, None] + torch.arange(length, device=first.device)
            indices = to_device(rows.flatten(), self.tensors[0].device)
            return self.tensors[0].index_select(0, indices).unflatten(0, rows.shape)
        located = locate_rows(self.ends, first)
        return torch.stack([self.tensors[number][row : row + length] for number, row in located])


class JpegRows:
    """Face crops stored as JPEG, numbered consecutively and decoded when read."""

    def __init__(self, maps: Sequence[FileMap], offsets: Sequence[Tensor], size: int, folder: Path):
        """offsets: (n + 1,) int64 each. folder: for messages."""
        self.maps, self.offsets, self.size, self.folder = maps, offsets, size, folder
        self.ends = torch.tensor([len(bounds) - 1 for bounds in offsets]).cumsum(0)

    def windows(self, first: Tensor, length: int) -> Tensor:
        """Decode windows (B, length, size, size, 3) uint8 RGB that start at rows (B,) int64."""
        located = locate_rows(self.ends, first)
        bounds = [self.offsets[number][row : row + length + 1].tolist() for number, row in located]
        for (number, _), ends in zip(located, bounds, strict=True):
            self.maps[number].prefetch(ends[0], ends[-1])
        crops = np.empty((len(located), length, self.size, self.size, 3), np.uint8)
        for window, (number, _), ends in zip(crops, located, bounds, strict=True):
            for j in range(length):
                window[j] = self._decode(self.maps[number].bytes[ends[j] : ends[j + 1]].numpy())
        return torch.from_numpy(crops)

    def _decode(self, data: np.ndarray) -> np.ndarray:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if image is None or image.shape != (self.size, self.size, 3):
            raise InputError(f"{self.folder}: contains a corrupt crop; {REPACK} with verify=true to find it")
        return image


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy to a device asynchronously."""
    if values.device == device:
        return values
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def locate_rows(ends: Tensor, rows: Tensor) -> list[tuple[int, int]]:
    """Return the tensor index of each row, and its row index in that tensor.

    ends: running totals of the lengths of the tensors.
    """
    numbers = torch.searchsorted(ends, rows, right=True)
    begins = torch.cat([ends.new_zeros(1), ends])
    return list(zip(numbers.tolist(), (rows - begins[numbers]).tolist(), strict=True))


@dataclass(frozen=True)
class ClipLocations:
    """Rows of C clips in a pack; all int64."""

    first_crops: np.ndarray  # (C,) row of the first crop
    first_columns: np.ndarray  # (C,) row of the first mel column
    column_counts: np.ndarray  # (C,) number of mel columns
    runs: np.ndarray  # (R, 3) clip, first frame number and length of runs of frames; crops are stored in this order


class Pack:
    """An open pack. Its data is read on demand, and processes that open the same pack share its pages.

    crops.windows and mels.windows gather the rows that `locate_clips` returns.
    """

    def __init__(self, folder: Path, manifest: PackManifest, shards: Sequence[Shard]):
        """shards: those that the manifest lists."""
        self.folder, self.size, self.encoding, self.shards = folder, manifest.size, manifest.encoding, shards
        self.entries = latest_entries(shards)  # live clips: number of the shard, number in the shard
        for clip in manifest.removed:
            self.entries.pop(clip, None)
        self.mels = Rows([_map_tensor(shard.folder / MELS, torch.float32).view(-1, MEL_BANDS) for shard in shards])
        self._maps = [FileMap(shard.folder / CROPS) for shard in shards]
        self.crops: Rows | JpegRows
        if self.encoding == "raw":
            self.crops = Rows([file.bytes.view(-1, self.size, self.size, 3) for file in self._maps], self._maps)
        else:
            offsets = [_map_tensor(shard.folder / OFFSETS, torch.int64) for shard in shards]
            self.crops = JpegRows(self._maps, offsets, self.size, folder)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Pack:
        """Read the index and check the file sizes against it; no crop is read.

        Raises: InputError if there is no complete pack, or a file is missing, truncated or replaced.
        """
        folder = Path(folder)
        manifest = PackManifest.read(folder)
        shards = [Shard.open(folder / name, manifest.size, manifest.encoding) for name in manifest.shards]
        for shard in shards:
            if shard.checksum != manifest.shards[shard.folder.name]:
                raise corrupt_shard(shard.folder, f"{INDEX} does not match its checksum")
        return cls(folder, manifest, shards)

    def __reduce__(self) -> tuple[object, ...]:
        return Pack.open, (self.folder,)  # another process maps the files itself instead of receiving their bytes

    def problem(self, clip: str) -> str:
        """Return the reason why a live clip has no crops; empty if it has."""
        shard, entry = self.entries[clip]
        return self.shards[shard].index.problems[entry]

    def locate_clips(self, clips: Sequence[str]) -> ClipLocations:
        """Locate live clips."""
        indexes = [shard.index for shard in self.shards]
        first = np.cumsum([0, *(len(index.clips) for index in indexes)])
        entries = np.array([first[s] + e for s, e in (self.entries[clip] for clip in clips)], np.int64)
        columns = _concatenate(index.columns for index in indexes)
        crops = _concatenate(index.frame_counts() for index in indexes)
        runs = [self.shards[s].index.runs[e] for s, e in (self.entries[clip] for clip in clips)]
        owner = np.repeat(np.arange(len(clips)), [len(run) // 2 for run in runs])
        return ClipLocations(
            first_crops=(np.cumsum(crops) - crops)[entries],
            first_columns=(np.cumsum(columns) - columns)[entries],
            column_counts=columns[entries],
            runs=np.column_stack([owner, _concatenate(runs).reshape(-1, 2)]),
        )

    def check_current(self, data_root: Path, clips: Sequence[str]) -> None:
        """Compare with the clip folders that exist; only those modified after their shard are read.

        Raises: InputError with the first clip that the pack lacks or that changed since.
        """
        shard_times = [(shard.folder / INDEX).stat().st_mtime_ns for shard in self.shards]
        for clip in clips:
            if clip not in self.entries:
                raise InputError(f"{self.folder}: lacks {clip}; {REPACK}, or remove it from the file list")
            s, e = self.entries[clip]
            if _modified_ns(data_root / clip) <= shard_times[s]:
                continue
            if fingerprint_clip(data_root / clip) != self.shards[s].index.fingerprints[e]:
                raise InputError(f"{self.folder}: {clip} has changed since it was packed; {REPACK}")

    def verify(self) -> None:
        """Read every byte of the live clips and compare the checksums.

        Raises: InputError with the first corrupt clip.
        """
        live: list[set[int]] = [set() for _ in self.shards]
        for s, e in self.entries.values():
            live[s].add(e)
        for s, shard in enumerate(self.shards):
            for e, actual in enumerate(self._checksums(s)):
                if e in live[s] and actual != shard.index.checksums[e]:
                    raise corrupt_shard(shard.folder, f"{shard.index.clips[e]} does not match its checksum")

    def _checksums(self, s: int) -> Iterator[int]:
        """Yield the checksums of the bytes on disk, clip by clip."""
        index = self.shards[s].index
        crops, mels, crop, byte, column = self._maps[s].bytes, self.mels.tensors[s], 0, 0, 0
        for frames, length, columns in zip(index.frame_counts(), index.bytes, index.columns, strict=True):
            bounds = self.crops.offsets[s][crop : crop + frames + 1] if isinstance(self.crops, JpegRows) else None
            lengths = [] if bounds is None else bounds.diff().tolist()
            mel = mels[column : column + columns].numpy().data
            self._maps[s].prefetch(byte, byte + length)
            yield checksum([crops[byte : byte + length].numpy().data], mel, lengths)
            crop, byte, column = crop + frames, byte + length, column + columns

    def seconds(self) -> float:
        """Return the duration of the live clips' crops."""
        frames = [shard.index.frame_counts() for shard in self.shards]
        return sum(frames[s][e] for s, e in self.entries.values()) / FPS

    def bytes_on_disk(self) -> int:
        """Return the size on disk, including dead entries."""
        return sum(file.stat().st_size for shard in self.shards for file in shard.folder.iterdir())


def _map_tensor(path: Path, dtype: torch.dtype) -> Tensor:
    """Map a small file as a tensor (n,), with the system's own readahead."""
    count = path.stat().st_size // dtype.itemsize
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype) if count else torch.empty(0, dtype=dtype)


def _concatenate(lists: Iterable[Iterable[int]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def _modified_ns(clip: Path) -> int:
    """Return the modification time of a clip folder; 0 if there is none."""
    try:
        return max(clip.stat().st_mtime_ns, (clip / AUDIO).stat().st_mtime_ns)
    except FileNotFoundError:
        return 0
