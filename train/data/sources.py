"""Sources of training data: clip folders or a pack of them, with identical samples. Clips are numbered.

Either can be cached in memory as a whole: see train.data.device_cache. Letters: B windows, C clips, R runs of frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from train.data.index import FrameRuns, WindowIndex
from wav2lip.audio.windows import WINDOW_COLUMNS, WINDOW_FRAMES
from wav2lip.dataset.clip import AUDIO, Clip, repair_hint
from wav2lip.dataset.filelist import read_entries
from wav2lip.dataset.packed import JpegRows, Pack, Rows
from wav2lip.dataset.shards import find_runs, pack_folder
from wav2lip.errors import InputError
from wav2lip.faces.crops import FACE_SIZE

log = logging.getLogger(__name__)

MIN_FRAMES = 16  # clips with fewer face crops are skipped, as upstream
DATA_SOURCES = ("auto", "clips", "packed", "device")


class ReadCost(Enum):
    """Cost of reading a batch."""

    CACHED = "indexing tensors in the memory of this process, which other processes cannot reach"
    MAPPED = "copying bytes from memory-mapped files"
    DECODED = "decoding images"


class RowStore(Protocol):
    """Crops and mels in rows: wav2lip.dataset.packed.Pack or train.data.device_cache.CachedTensors."""

    @property
    def crops(self) -> Rows | JpegRows: ...
    @property
    def mels(self) -> Rows: ...


class Source(Protocol):
    """Clips whose windows can be read a batch at a time."""

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""

    @property
    def names(self) -> Sequence[str]:
        """Paths of the clips, for messages."""

    @property
    def runs(self) -> FrameRuns:
        """Frames of the clips."""

    def select(self, mask: Tensor) -> Source:
        """Clips in a mask (C,) bool, renumbered."""

    def frames(self, clip: Tensor, first: Tensor) -> Tensor:
        """(B, 5, size, size, 3) uint8 RGB: crops of the windows that start at frames (B,) of clips (B,)."""

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """(B, K, 80, 16) float32: K windows of each clip's mel, starting at columns (B, K)."""


class ClipFolderSource:
    """Clips read from their folders; images are decoded and resized each time."""

    read_cost = ReadCost.DECODED

    def __init__(self, clips: Sequence[Clip], size: int = FACE_SIZE):
        """size: pixels, width and height that images are resized to."""
        self.clips, self.size = clips, size
        self.names = [str(clip.path) for clip in clips]
        runs = [find_runs(clip.frames) for clip in clips]
        owner = np.repeat(np.arange(len(clips)), [len(run) for run in runs])
        first, count = np.concatenate([np.empty((0, 2), np.int64), *runs]).T
        mel_columns = np.array([clip.mel_columns() for clip in clips], np.int64)
        self.runs = FrameRuns(*(torch.tensor(numbers) for numbers in (owner, first, count, mel_columns)))

    def select(self, mask: Tensor) -> ClipFolderSource:
        """See Source."""
        return ClipFolderSource([clip for clip, keep in zip(self.clips, mask.tolist(), strict=True) if keep], self.size)

    def frames(self, clip: Tensor, first: Tensor) -> Tensor:
        """See Source. Raises: InputError if an image is corrupt."""
        crops = np.empty((len(clip), WINDOW_FRAMES, self.size, self.size, 3), np.uint8)
        for window, c, frame in zip(crops, clip.tolist(), first.tolist(), strict=True):
            for j in range(WINDOW_FRAMES):
                window[j] = self.clips[c].read(frame + j, self.size)
        return torch.from_numpy(crops)

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """See Source. Raises: InputError if the audio is shorter than its header says."""
        windows = [self._mel_windows(self.clips[c], starts) for c, starts in zip(clip.tolist(), columns, strict=True)]
        return torch.from_numpy(np.array(windows))

    @staticmethod
    def load_mel(clip: Clip, min_columns: int) -> np.ndarray:
        """Load a clip's mel (80, T). Raises: InputError if T is below `min_columns`."""
        mel = clip.mel()
        if min_columns > mel.shape[1]:
            hint = repair_hint(clip.path, f"write {AUDIO} again")
            raise InputError(f"{clip.path}: its audio ends at mel column {mel.shape[1]}; {hint}")
        return mel

    def _mel_windows(self, clip: Clip, starts: Tensor) -> np.ndarray:
        mel = self.load_mel(clip, int(starts.max()) + WINDOW_COLUMNS)
        return np.stack([mel[:, start : start + WINDOW_COLUMNS] for start in starts.tolist()])


@dataclass(frozen=True)
class PackedSource:
    """Clips of a pack, on disk or cached in memory; all windows of a batch are gathered in one operation."""

    store: RowStore
    names: Sequence[str]
    runs: FrameRuns
    first_crop: Tensor  # (R,) int64: row of the first crop of each run
    first_column: Tensor  # (C,) int64: row of the first mel column of each clip

    @classmethod
    def from_pack(cls, pack: Pack, data_root: Path, clips: Sequence[str]) -> PackedSource:
        """Select clips of an open pack, which must be live and without a problem."""
        located = pack.locate_clips(clips)
        runs = FrameRuns(*map(torch.from_numpy, (*located.runs.T.copy(), located.column_counts)))
        before = runs.count.cumsum(0) - runs.count
        first_run = torch.searchsorted(runs.clip, torch.arange(len(clips)))
        clip_offset = torch.from_numpy(located.first_crops) - before[first_run]
        names = [str(data_root / clip) for clip in clips]
        return cls(pack, names, runs, before + clip_offset[runs.clip], torch.from_numpy(located.first_columns))

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""
        if isinstance(self.store.crops, JpegRows):
            return ReadCost.DECODED
        return ReadCost.MAPPED if self.store.crops.maps else ReadCost.CACHED

    @property
    def size(self) -> int:
        """Pixels: width and height of the images."""
        crops = self.store.crops
        return crops.size if isinstance(crops, JpegRows) else crops.tensors[0].shape[1]

    def select(self, mask: Tensor) -> PackedSource:
        """See Source."""
        names = [name for name, keep in zip(self.names, mask.tolist(), strict=True) if keep]
        first_crop, first_column = self.first_crop[mask[self.runs.clip]], self.first_column[mask]
        return PackedSource(self.store, names, self.runs.select(mask), first_crop, first_column)

    def frames(self, clip: Tensor, first: Tensor) -> Tensor:
        """See Source."""
        run = self.runs.find(clip, first)
        return self.store.crops.windows(self.first_crop[run] + first - self.runs.first[run], WINDOW_FRAMES)

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """See Source."""
        rows = self.first_column[clip][:, None] + columns
        windows = self.store.mels.windows(rows.flatten(), WINDOW_COLUMNS)  # (B * K, 16, 80)
        return windows.transpose(1, 2).unflatten(0, rows.shape).contiguous()


BuildIndex = Callable[[FrameRuns], WindowIndex]


def open_source(
    data_root: Path, filelist: Path, build_index: BuildIndex, data_source: str, size: int = FACE_SIZE
) -> tuple[Source, WindowIndex]:
    """Open the clips of a file list that have a usable window; skipped clips are logged with the reason.

    build_index: WindowIndex.for_syncnet or for_generator.
    data_source: clips, packed, or auto and device: packed if there is a pack that matches the clips, else clips.
    size: pixels, width and height of the images.
    Raises: InputError if no clip is usable, with the reason of the first, or the pack cannot be read.
    """
    if data_source not in DATA_SOURCES:
        raise InputError(f"data_source={data_source}: must be one of {', '.join(DATA_SOURCES)}")
    entries = read_entries(filelist, data_root)
    ids = [entry.clip for entry in entries]
    source, reasons = _open(data_root, ids, data_source, size)
    index = build_index(source.runs)
    frames = source.runs.sum_by_clip(source.runs.count)
    usable = (frames >= MIN_FRAMES) & (index.anchors_per_clip > 0)
    for c in (~usable).nonzero().flatten().tolist():
        reasons[source.names[c]] = _skip_reason(source.names[c], int(frames[c]))
    lines = {str(data_root / entry.clip): entry.line for entry in entries}
    sentences = [f"{lines[clip]}: {reason}" for clip, reason in reasons.items()]
    for sentence in sentences:
        log.warning("skipping a clip: %s", sentence)
    if not usable.any():
        hint = _find_layout(data_root, ids[0]) or f"the first: {sentences[0]}"
        raise InputError(f"{filelist}: none of its {len(ids)} clips in {data_root} is usable; {hint}")
    if usable.all():
        return source, index
    source = source.select(usable)
    return source, build_index(source.runs)


def _find_layout(data_root: Path, clip: str) -> str | None:
    """Return the data root to set if a clip that is missing is one level up or down; None if it is not."""
    if (data_root / clip).is_dir() or not data_root.is_dir():
        return None
    folders = [data_root.resolve().parent, *sorted(path for path in data_root.iterdir() if path.is_dir())]
    return next((f"they are below another folder: set data_root={f}" for f in folders if (f / clip).is_dir()), None)


def _skip_reason(clip: str, frames: int) -> str:
    if frames < MIN_FRAMES:
        return f"{clip}: has {frames} face crops, fewer than {MIN_FRAMES}"
    return (
        f"{clip}: has no window of 5 consecutive frames with 0.2 s of audio; "
        "check that its frames and its audio.wav cover the same time"
    )


def _open(data_root: Path, ids: Sequence[str], data_source: str, size: int) -> tuple[Source, dict[str, str]]:
    """Clips of the data source, and by path the reasons why others cannot be opened."""
    if data_source == "clips":
        return open_folders(data_root, ids, size)
    try:
        source, reasons = open_pack(data_root, ids, size)
    except InputError as error:
        if data_source == "packed":
            raise
        log.info("reading clip folders, which is slower than a pack: %s", error)
        return open_folders(data_root, ids, size)
    log.info("reading %d clips from %s", len(source.names), pack_folder(data_root, size))
    return source, reasons


def open_pack(data_root: Path, ids: Sequence[str], size: int = FACE_SIZE) -> tuple[PackedSource, dict[str, str]]:
    """Open clips of the pack of a data set at a size in pixels; also returns by path why some could not be packed.

    Raises: InputError if there is no complete pack, or it lacks a clip, or a clip has changed since.
    """
    pack = Pack.open(pack_folder(data_root, size))
    pack.check_current(data_root, ids)
    problems = {clip: pack.problem(clip) for clip in ids}
    source = PackedSource.from_pack(pack, data_root, [clip for clip in ids if not problems[clip]])
    return source, {str(data_root / clip): problem for clip, problem in problems.items() if problem}


def open_folders(data_root: Path, ids: Sequence[str], size: int = FACE_SIZE) -> tuple[ClipFolderSource, dict[str, str]]:
    """Open clips from their folders; also returns by path why some cannot be opened."""
    clips: list[Clip] = []
    reasons: dict[str, str] = {}
    for clip_id in ids:
        try:
            clip = Clip.open(data_root / clip_id)
            clip.mel_columns()
        except InputError as error:
            reasons[str(data_root / clip_id)] = str(error)
        else:
            clips.append(clip)
    return ClipFolderSource(clips, size), reasons
