"""Where training reads clips from: their folders, or a pack of them. Both give the same samples.

Either can be held in memory whole: see train.data.resident. A clip goes by its number among the usable ones of a file
list.
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

from train.data.draws import ClipWindows, Runs
from wav2lip.clips import Clip, read_filelist
from wav2lip.crops import FACE_SIZE
from wav2lip.errors import InputError
from wav2lip.packed import JpegRows, Pack, Rows
from wav2lip.shards import pack_folder, runs_of
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES

log = logging.getLogger(__name__)

FEWEST_FRAMES = 16  # a clip with fewer face crops is left out, as in the release
FORMS = ("auto", "clips", "packed", "device")


class Reading(Enum):
    """What it takes to make a batch."""

    HELD = "all lies in the memory of this process, which other processes could not reach"
    GATHERED = "bytes are copied from files that are mapped into memory"
    DECODED = "pictures are decoded"


class Stored(Protocol):
    """Crops and mels in rows: wav2lip.packed.Pack or train.data.resident.Held."""

    @property
    def crops(self) -> Rows | JpegRows: ...
    @property
    def mels(self) -> Rows: ...


class Source(Protocol):
    """Clips whose windows can be read a batch at a time."""

    @property
    def reading(self) -> Reading:
        """What it takes."""

    @property
    def names(self) -> Sequence[str]:
        """Paths of the clips, for messages."""

    @property
    def runs(self) -> Runs:
        """The frames that the clips have."""

    def select(self, kept: Tensor) -> Source:
        """Some of the clips, kept (C,) bool, numbered through anew."""

    def pictures(self, clip: Tensor, first: Tensor) -> Tensor:
        """(B, 5, size, size, 3) uint8 RGB: the crops of the windows that begin at frames (B,) of clips (B,)."""

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """(B, K, 80, 16) float32: K windows of each clip's mel, from columns (B, K) on."""


class Folders:
    """Clips read from their folders: pictures are decoded and resized each time."""

    reading = Reading.DECODED

    def __init__(self, clips: Sequence[Clip], size: int = FACE_SIZE):
        """size: pixels that pictures are resized to, in width and height."""
        self.clips, self.size = clips, size
        self.names = [str(clip.path) for clip in clips]
        runs = [runs_of(clip.frames) for clip in clips]
        owner = np.repeat(np.arange(len(clips)), [len(run) for run in runs])
        first, count = np.concatenate([np.empty((0, 2), np.int64), *runs]).T
        columns = np.array([clip.mel_columns() for clip in clips], np.int64)
        self.runs = Runs(*(torch.tensor(numbers) for numbers in (owner, first, count, columns)))

    def select(self, kept: Tensor) -> Folders:
        """Some of the clips, kept (C,) bool, numbered through anew."""
        return Folders([clip for clip, stays in zip(self.clips, kept.tolist(), strict=True) if stays], self.size)

    def pictures(self, clip: Tensor, first: Tensor) -> Tensor:
        """See Source. Raises: InputError if a picture is damaged."""
        crops = np.empty((len(clip), WINDOW_FRAMES, self.size, self.size, 3), np.uint8)
        for window, c, frame in zip(crops, clip.tolist(), first.tolist(), strict=True):
            for j in range(WINDOW_FRAMES):
                window[j] = self.clips[c].read(frame + j, self.size)
        return torch.from_numpy(crops)

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """See Source. Raises: InputError if the sound ends earlier than its header says."""
        windows = [self._mel_windows(self.clips[c], starts) for c, starts in zip(clip.tolist(), columns, strict=True)]
        return torch.from_numpy(np.array(windows))

    @staticmethod
    def whole_mel(clip: Clip, columns: int) -> np.ndarray:
        """A clip's mel (80, T). Raises: InputError if it has fewer columns than are needed."""
        mel = clip.mel()
        if columns > mel.shape[1]:
            raise InputError(f"{clip.path}: its sound ends at mel column {mel.shape[1]}; preprocess its video again")
        return mel

    def _mel_windows(self, clip: Clip, starts: Tensor) -> np.ndarray:
        mel = self.whole_mel(clip, int(starts.max()) + WINDOW_COLUMNS)
        return np.stack([mel[:, start : start + WINDOW_COLUMNS] for start in starts.tolist()])


@dataclass(frozen=True)
class Packed:
    """Clips of a pack, on disk or held in memory: all windows of a batch in one gather of rows."""

    pack: Stored
    names: Sequence[str]
    runs: Runs
    first_crop: Tensor  # (R,) int64: where the first crop of each run lies in the pack
    first_column: Tensor  # (C,) int64: likewise the first mel column of each clip

    @classmethod
    def of(cls, pack: Pack, data_root: Path, clips: Sequence[str]) -> Packed:
        """Clips of an opened pack; they must be live and without a problem."""
        places = pack.places(clips)
        runs = Runs(*map(torch.from_numpy, (*places.runs.T.copy(), places.lengths)))
        before = runs.count.cumsum(0) - runs.count
        of_clip = torch.from_numpy(places.crops) - before[torch.searchsorted(runs.clip, torch.arange(len(clips)))]
        names = [str(data_root / clip) for clip in clips]
        return cls(pack, names, runs, before + of_clip[runs.clip], torch.from_numpy(places.columns))

    @property
    def reading(self) -> Reading:
        """See Source."""
        if isinstance(self.pack.crops, JpegRows):
            return Reading.DECODED
        return Reading.GATHERED if self.pack.crops.maps else Reading.HELD

    @property
    def size(self) -> int:
        """Pixels: width and height of the pictures."""
        crops = self.pack.crops
        return crops.size if isinstance(crops, JpegRows) else crops.parts[0].shape[1]

    def select(self, kept: Tensor) -> Packed:
        """Some of the clips, kept (C,) bool, numbered through anew."""
        names = [name for name, stays in zip(self.names, kept.tolist(), strict=True) if stays]
        crops, columns = self.first_crop[kept[self.runs.clip]], self.first_column[kept]
        return Packed(self.pack, names, self.runs.select(kept), crops, columns)

    def pictures(self, clip: Tensor, first: Tensor) -> Tensor:
        """See Source."""
        run = self.runs.find(clip, first)
        return self.pack.crops.windows(self.first_crop[run] + first - self.runs.first[run], WINDOW_FRAMES)

    def mels(self, clip: Tensor, columns: Tensor) -> Tensor:
        """See Source."""
        rows = self.first_column[clip][:, None] + columns
        windows = self.pack.mels.windows(rows.flatten(), WINDOW_COLUMNS)  # (B * K, 16, 80)
        return windows.transpose(1, 2).unflatten(0, rows.shape).contiguous()


WindowsOf = Callable[[Runs], ClipWindows]


def open_source(
    data_root: Path, filelist: Path, windows_of: WindowsOf, form: str, size: int = FACE_SIZE
) -> tuple[Source, ClipWindows]:
    """The clips of a file list that have a usable window; what is left out is logged with its reason.

    windows_of: ClipWindows.for_syncnet or for_generator.
    form: clips, packed, or auto and device: packed where there is a pack with these clips as they are now, else clips.
    size: pixels: width and height of the pictures.
    Raises: InputError if none is left, with the reason of the first, or the pack cannot be used.
    """
    if form not in FORMS:
        raise InputError(f"data={form}: is none of {', '.join(FORMS)}; choose one of these")
    ids = read_filelist(filelist, data_root)
    found, reasons = _open(data_root, ids, form, size)
    runs = found.runs
    windows = windows_of(runs)
    frames = runs.total(runs.count)
    kept = (frames >= FEWEST_FRAMES) & (windows.anchors > 0)
    for c in (~kept).nonzero().flatten().tolist():
        reasons.append(_why_not(found.names[c], int(frames[c])))
    for reason in reasons:
        log.warning("left out: %s", reason)
    if not kept.any():
        raise InputError(
            f"{filelist}: none of its {len(ids)} clips under {data_root} can be used; the first: {reasons[0]}"
        )
    return (found, windows) if kept.all() else (chosen := found.select(kept), windows_of(chosen.runs))


def _why_not(clip: str, frames: int) -> str:
    if frames < FEWEST_FRAMES:
        return f"{clip}: has {frames} face crops, fewer than {FEWEST_FRAMES}"
    return (
        f"{clip}: has no window of 5 consecutive frames with 0.2 s of sound; "
        "check that its frames and its audio.wav are of the same seconds"
    )


def _open(data_root: Path, ids: Sequence[str], form: str, size: int) -> tuple[Source, list[str]]:
    """The clips in the form asked for, and why others cannot be opened."""
    if form == "clips":
        return open_folders(data_root, ids, size)
    try:
        found, reasons = open_pack(data_root, ids, size)
    except InputError as error:
        if form == "packed":
            raise
        log.info("reads the clip folders, which is slower than a pack: %s", error)
        return open_folders(data_root, ids, size)
    log.info("reads %d clips from %s", len(found.names), pack_folder(data_root, size))
    return found, reasons


def open_pack(data_root: Path, ids: Sequence[str], size: int = FACE_SIZE) -> tuple[Packed, list[str]]:
    """These clips from the pack of a data set at a size in pixels, and why some of them could not be packed.

    Raises: InputError if there is no whole pack, or it lacks a clip, or a clip has changed since.
    """
    pack = Pack.open(pack_folder(data_root, size))
    pack.check_current(data_root, ids)
    problems = {clip: pack.problem(clip) for clip in ids}
    return Packed.of(pack, data_root, [clip for clip in ids if not problems[clip]]), list(
        filter(None, problems.values())
    )


def open_folders(data_root: Path, ids: Sequence[str], size: int = FACE_SIZE) -> tuple[Folders, list[str]]:
    """These clips from their folders, and why some cannot be opened."""
    clips: list[Clip] = []
    reasons: list[str] = []
    for clip_id in ids:
        try:
            clip = Clip.open(data_root / clip_id)
            clip.mel_columns()
        except InputError as error:
            reasons.append(str(error))
        else:
            clips.append(clip)
    return Folders(clips, size), reasons
