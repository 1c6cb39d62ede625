"""A packed data set, opened: memory maps, and windows of crops and mels gathered from them a batch at a time."""

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

from wav2lip.audio import MEL_BANDS
from wav2lip.clips import AUDIO
from wav2lip.errors import InputError
from wav2lip.shards import (
    AGAIN,
    CROPS,
    INDEX,
    MELS,
    OFFSETS,
    Head,
    Shard,
    checksum,
    damaged,
    fingerprint,
    latest,
)
from wav2lip.windows import FPS


class FileMap:
    """A file mapped into memory, whose pages come from the disk when they are touched or, sooner, when announced.

    Left to itself the system reads around every page that is touched, up to megabytes that nobody asked for; what is
    announced is read in one piece, and pieces beside one another.
    """

    def __init__(self, path: Path):
        """All processes that map the file share its pages. Nothing that is written to `bytes` reaches it."""
        self._map: mmap.mmap | None = None
        self.bytes = torch.empty(0, dtype=torch.uint8)
        if path.stat().st_size:  # an empty file cannot be mapped
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)
            if hasattr(mmap, "MADV_RANDOM"):  # not on Windows
                self._map.madvise(mmap.MADV_RANDOM)

    def announce(self, begin: int, end: int) -> None:
        """Have these bytes read in the background."""
        if self._map is not None and hasattr(mmap, "MADV_WILLNEED"):
            begin -= begin % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, begin, end - begin)


class Rows:
    """Rows of one shape, numbered through over one or several tensors."""

    def __init__(self, parts: Sequence[Tensor], maps: Sequence[FileMap] = ()):
        """parts: (n, ...) each. maps: the files they lie in, if what is going to be read is to be announced."""
        self.parts, self.maps = parts, maps
        self.ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def windows(self, first: Tensor, length: int) -> Tensor:
        """(B, length, ...): `length` rows from each of the rows (B,) int64 on; none reaches over the end of a part.

        A single part may lie on any device, and the windows are made there; the numbers come from the host.
        """
        if self.maps:
            row_bytes = self.parts[0][0].nbytes
            for part, row in locate(self.ends, first):
                self.maps[part].announce(row * row_bytes, (row + length) * row_bytes)
        if len(self.parts) == 1:  # one index for all, wherever the rows lie
            rows = first[:, None] + torch.arange(length, device=first.device)
            chosen = sent(rows.flatten(), self.parts[0].device)
            return self.parts[0].index_select(0, chosen).unflatten(0, rows.shape)
        return torch.stack([self.parts[part][row : row + length] for part, row in locate(self.ends, first)])


class JpegRows:
    """Face crops that are kept as JPEG, numbered through, decoded when they are asked for."""

    def __init__(self, maps: Sequence[FileMap], offsets: Sequence[Tensor], size: int, folder: Path):
        """offsets: (n + 1,) int64 each. folder: for messages."""
        self.maps, self.offsets, self.size, self.folder = maps, offsets, size, folder
        self.ends = torch.tensor([len(bounds) - 1 for bounds in offsets]).cumsum(0)

    def windows(self, first: Tensor, length: int) -> Tensor:
        """(B, length, size, size, 3) uint8 RGB: crops from each of the numbers (B,) int64 on."""
        places = locate(self.ends, first)
        bounds = [self.offsets[part][row : row + length + 1].tolist() for part, row in places]
        for (part, _), ends in zip(places, bounds, strict=True):
            self.maps[part].announce(ends[0], ends[-1])
        crops = np.empty((len(places), length, self.size, self.size, 3), np.uint8)
        for window, (part, _), ends in zip(crops, places, bounds, strict=True):
            for j in range(length):
                window[j] = self._decode(self.maps[part].bytes[ends[j] : ends[j + 1]].numpy())
        return torch.from_numpy(crops)

    def _decode(self, data: np.ndarray) -> np.ndarray:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if picture is None or picture.shape != (self.size, self.size, 3):
            raise InputError(f"{self.folder}: a crop in it is damaged; {AGAIN} with verify=true, which says where")
        return picture


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The same on a device, which is not waited for: a GPU fetches them when it gets there."""
    if values.device == device:
        return values
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def locate(ends: Tensor, rows: Tensor) -> list[tuple[int, int]]:
    """The part in which each row lies, and its number there. ends: (P,) running totals of the parts' lengths."""
    parts = torch.searchsorted(ends, rows, right=True)
    begins = torch.cat([ends.new_zeros(1), ends])
    return list(zip(parts.tolist(), (rows - begins[parts]).tolist(), strict=True))


@dataclass(frozen=True)
class Places:
    """Where some clips of a pack lie, a row of each array for each clip; see Pack.places."""

    crops: np.ndarray  # (C,) int64: number of the first crop
    columns: np.ndarray  # (C,) int64: number of the first mel column
    lengths: np.ndarray  # (C,) int64: mel columns
    runs: np.ndarray  # (R, 3) int64: which clip, first frame number, count; the crops lie in this order


class Pack:
    """An opened pack. What it holds stays on disk until asked for, once for all processes that open it.

    crops.windows and mels.windows gather rows by the numbers that `places` gives.
    """

    def __init__(self, folder: Path, head: Head, shards: Sequence[Shard]):
        """shards: those that the head names."""
        self.folder, self.size, self.encoding, self.shards = folder, head.size, head.encoding, shards
        self.entries = latest(shards)  # of live clips: number of the shard, number in the shard
        for clip in head.gone:
            self.entries.pop(clip, None)
        self.mels = Rows([_map(shard.folder / MELS, torch.float32).view(-1, MEL_BANDS) for shard in shards])
        self._maps = [FileMap(shard.folder / CROPS) for shard in shards]
        self.crops: Rows | JpegRows
        if self.encoding == "raw":
            self.crops = Rows([each.bytes.view(-1, self.size, self.size, 3) for each in self._maps], self._maps)
        else:
            offsets = [_map(shard.folder / OFFSETS, torch.int64) for shard in shards]
            self.crops = JpegRows(self._maps, offsets, self.size, folder)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Pack:
        """Read the index and compare the sizes of the files with it; no crop is read.

        Raises: InputError if there is no finished pack, or a file is missing, cut or not the one that was written.
        """
        folder = Path(folder)
        head = Head.read(folder)
        shards = [Shard.open(folder / name, head.size, head.encoding) for name in head.shards]
        for shard in shards:
            if shard.checksum != head.shards[shard.folder.name]:
                raise damaged(shard.folder, f"{INDEX} is not the one that was written")
        return cls(folder, head, shards)

    def __reduce__(self) -> tuple[object, ...]:
        return Pack.open, (self.folder,)  # another process maps the files itself instead of being sent their bytes

    def problem(self, clip: str) -> str:
        """Why a live clip holds no crops, or ""."""
        shard, entry = self.entries[clip]
        return self.shards[shard].index.problems[entry]

    def places(self, clips: Sequence[str]) -> Places:
        """Where these live clips lie."""
        indexes = [shard.index for shard in self.shards]
        first = np.cumsum([0, *(len(index.clips) for index in indexes)])
        chosen = np.array([first[s] + e for s, e in (self.entries[clip] for clip in clips)], np.int64)
        lengths = _flat(index.columns for index in indexes)
        crops = _flat(index.frames() for index in indexes)
        runs = [self.shards[s].index.runs[e] for s, e in (self.entries[clip] for clip in clips)]
        owner = np.repeat(np.arange(len(clips)), [len(run) // 2 for run in runs])
        return Places(
            crops=(np.cumsum(crops) - crops)[chosen],
            columns=(np.cumsum(lengths) - lengths)[chosen],
            lengths=lengths[chosen],
            runs=np.column_stack([owner, _flat(runs).reshape(-1, 2)]),
        )

    def check_current(self, data_root: Path, clips: Sequence[str]) -> None:
        """Compare with the clip folders, as far as these are there.

        A clip is looked at closely only if it was written after its shard.
        Raises: InputError with the first clip that the pack lacks or that changed since.
        """
        written = [(shard.folder / INDEX).stat().st_mtime_ns for shard in self.shards]
        for clip in clips:
            if clip not in self.entries:
                raise InputError(f"{self.folder}: lacks {clip}; {AGAIN}, or take it out of the file list")
            s, e = self.entries[clip]
            if _touched(data_root / clip) <= written[s]:
                continue
            if fingerprint(data_root / clip) != self.shards[s].index.fingerprints[e]:
                raise InputError(f"{self.folder}: {clip} has changed since it was packed; {AGAIN}")

    def verify(self) -> None:
        """Read every byte of the live clips and compare the checksums.

        Raises: InputError with the first clip that is damaged and what to do.
        """
        live: list[set[int]] = [set() for _ in self.shards]
        for s, e in self.entries.values():
            live[s].add(e)
        for s, shard in enumerate(self.shards):
            for e, found in enumerate(self._checksums(s)):
                if e in live[s] and found != shard.index.checksums[e]:
                    raise damaged(shard.folder, f"the bytes of {shard.index.clips[e]} are not those that were written")

    def _checksums(self, s: int) -> Iterator[int]:
        """Those of the bytes that now stand in a shard, clip by clip."""
        index = self.shards[s].index
        crops, mels, crop, byte, column = self._maps[s].bytes, self.mels.parts[s], 0, 0, 0
        for frames, length, columns in zip(index.frames(), index.bytes, index.columns, strict=True):
            bounds = self.crops.offsets[s][crop : crop + frames + 1] if isinstance(self.crops, JpegRows) else None
            lengths = [] if bounds is None else bounds.diff().tolist()
            mel = mels[column : column + columns].numpy().data
            self._maps[s].announce(byte, byte + length)
            yield checksum([crops[byte : byte + length].numpy().data], mel, lengths)
            crop, byte, column = crop + frames, byte + length, column + columns

    def seconds(self) -> float:
        """How much video the live clips have crops of."""
        frames = [shard.index.frames() for shard in self.shards]
        return sum(frames[s][e] for s, e in self.entries.values()) / FPS

    def bytes(self) -> int:
        """What it takes on disk, dead entries included."""
        return sum(file.stat().st_size for shard in self.shards for file in shard.folder.iterdir())


def _map(path: Path, dtype: torch.dtype) -> Tensor:
    """A small file as a tensor (n,), mapped into memory as FileMap's, without announcements."""
    count = path.stat().st_size // dtype.itemsize
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype) if count else torch.empty(0, dtype=dtype)


def _flat(parts: Iterable[Iterable[int]]) -> np.ndarray:
    return np.fromiter(chain.from_iterable(parts), np.int64)


def _touched(clip: Path) -> int:
    """When a clip folder was last written to, in ns; 0 where there is none."""
    try:
        return max(clip.stat().st_mtime_ns, (clip / AUDIO).stat().st_mtime_ns)
    except FileNotFoundError:
        return 0
