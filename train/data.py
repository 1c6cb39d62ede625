"""Training samples: windows of clips, each wholly determined by the seed and its number.

Sample n is the same on every machine, with any number of workers and after a resume, because everything drawn for it
comes from a generator seeded with (seed, n).
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from wav2lip.clips import Clip, read_filelist
from wav2lip.crops import FACE_SIZE, generator_input, mouths, to_network
from wav2lip.errors import InputError
from wav2lip.windows import WINDOW_COLUMNS, WINDOW_FRAMES, first_column, frame_columns, whole_windows

log = logging.getLogger(__name__)

FEWEST_FRAMES = 16  # a clip with fewer face crops is left out, as in the release
GRACE = 20  # seconds that a loader worker stays after it was told to end
TRIES = 10  # draws in place of damaged samples before giving up


class SyncNetInputs(NamedTuple):
    """What the expert's step takes: network values on the training device."""

    mel: Tensor  # (B, 1, 80, 16)
    faces: Tensor  # (B, 15, 48, 96) BGR in [0, 1]
    label: Tensor  # (B, 1): 1 where they belong together, else 0


class SyncNetBatch(NamedTuple):
    """What the expert's loader gives: pictures as bytes, a twelfth of the traffic of network values."""

    mel: Tensor  # (B, 1, 80, 16) float32
    frames: Tensor  # (B, 5, 96, 96, 3) uint8 RGB
    label: Tensor  # (B, 1) float32

    def inputs(self) -> SyncNetInputs:
        """Network values, computed where the batch lies."""
        return SyncNetInputs(self.mel, mouths(time_second(to_network(self.frames))), self.label)


class GeneratorInputs(NamedTuple):
    """What the generator's step takes: network values on the training device."""

    faces: Tensor  # (B, 6, 5, 96, 96) BGR in [0, 1]: target with its lower half hidden, then reference
    frame_mels: Tensor  # (B, 5, 1, 80, 16): the sound around each frame
    window_mel: Tensor  # (B, 1, 80, 16): the sound under the five frames, for the expert
    target: Tensor  # (B, 3, 5, 96, 96)


class GeneratorBatch(NamedTuple):
    """What the generator's loader gives."""

    target: Tensor  # (B, 5, 96, 96, 3) uint8 RGB
    reference: Tensor  # (B, 5, 96, 96, 3) uint8 RGB, other frames of the same clip
    frame_mels: Tensor  # (B, 5, 1, 80, 16) float32
    window_mel: Tensor  # (B, 1, 80, 16) float32

    def inputs(self) -> GeneratorInputs:
        """Network values, computed where the batch lies."""
        target, reference = to_network(self.target), to_network(self.reference)
        faces = time_second(generator_input(target, reference))
        return GeneratorInputs(faces, self.frame_mels, self.window_mel, time_second(target))


def time_second(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (B, C, T, H, W), the networks' order."""
    return frames.transpose(1, 2)


@dataclass(frozen=True)
class ClipWindows:
    """The windows of one clip that training may use, each named by its first frame."""

    clip: Clip
    whole: np.ndarray  # (W,) frames that begin five consecutive crops
    anchors: np.ndarray  # (A,) those of them whose sound is complete too

    @classmethod
    def for_syncnet(cls, clip: Clip, min_shift: int) -> ClipWindows:
        """Anchors whose window of sound is complete and that have a wrong window at least `min_shift` away."""
        whole = whole_windows(clip.frames)
        last_mel = clip.mel_columns() - WINDOW_COLUMNS
        anchors = np.array([f for f in whole if first_column(f) <= last_mel], np.int32)
        if len(whole):
            far = (anchors - whole[0] >= min_shift) | (whole[-1] - anchors >= min_shift)
            anchors = anchors[far]
        return cls(clip, whole, anchors)

    @classmethod
    def for_generator(cls, clip: Clip) -> ClipWindows:
        """Anchors whose five per-frame windows of sound are complete; frame 0 has no sound before it."""
        whole = whole_windows(clip.frames)
        last_mel = clip.mel_columns() - WINDOW_COLUMNS
        anchors = [f for f in whole if f >= 1 and frame_columns(f + WINDOW_FRAMES - 1) <= last_mel]
        return cls(clip, whole, np.array(anchors if len(whole) > 1 else [], np.int32))

    def draw_other(self, anchor: int, min_shift: int, rng: np.random.Generator) -> int:
        """A window at least `min_shift` frames from the anchor, uniformly."""
        before = int(np.searchsorted(self.whole, anchor - min_shift, side="right"))
        after = int(np.searchsorted(self.whole, anchor + min_shift, side="left"))
        pick = int(rng.integers(before + len(self.whole) - after))
        return int(self.whole[pick if pick < before else pick - before + after])

    def pictures(self, first: int) -> np.ndarray:
        """(5, 96, 96, 3) uint8 RGB: the crops of the window that begins at a frame."""
        return np.stack([self.clip.read(first + j, FACE_SIZE) for j in range(WINDOW_FRAMES)])


def mel_window(clip: Clip, mel: np.ndarray, column: int) -> np.ndarray:
    """(80, 16) float32 of a clip's mel from a column on; InputError if the sound ends earlier than its header says."""
    window = np.array(mel[:, column : column + WINDOW_COLUMNS], np.float32)
    if window.shape[1] < WINDOW_COLUMNS:
        raise InputError(f"{clip.path}: its sound ends at mel column {mel.shape[1]}; preprocess its video again")
    return window


class SyncNetSamples:
    """Sound with the mouth it belongs to, or with a mouth of the same clip at another time, by a fair coin."""

    def __init__(self, min_shift: int):
        """min_shift: frames between the right window and a wrong one; under 5 they share frames."""
        self.min_shift = min_shift

    def __call__(self, clip: ClipWindows, anchor: int, rng: np.random.Generator) -> SyncNetBatch:
        """One SyncNetBatch without its first dimension; what is random in it comes from rng."""
        right = bool(rng.integers(2))
        shown = anchor if right else clip.draw_other(anchor, self.min_shift, rng)
        return self.pair(clip, anchor, shown)

    @staticmethod
    def pair(clip: ClipWindows, heard: int, shown: int) -> SyncNetBatch:
        """The sound under one window with the pictures of another or the same."""
        mel = mel_window(clip.clip, clip.clip.mel(), first_column(heard))[None]
        label = np.array([heard == shown], np.float32)
        return SyncNetBatch(*map(torch.from_numpy, (mel, clip.pictures(shown), label)))


class GeneratorSamples:
    """Five frames to repaint, five others of the same clip as references, and the sound."""

    def __call__(self, clip: ClipWindows, anchor: int, rng: np.random.Generator) -> GeneratorBatch:
        """One GeneratorBatch without its first dimension; the reference window comes from rng."""
        return self.assemble(clip, anchor, clip.draw_other(anchor, 1, rng))

    @staticmethod
    def assemble(clip: ClipWindows, anchor: int, reference: int) -> GeneratorBatch:
        """The sample for an anchor window and a reference window."""
        mel = clip.clip.mel()
        frame_mels = np.stack(
            [mel_window(clip.clip, mel, frame_columns(anchor + j))[None] for j in range(WINDOW_FRAMES)]
        )
        window_mel = mel_window(clip.clip, mel, first_column(anchor))[None]
        pictures = clip.pictures(anchor), clip.pictures(reference)
        return GeneratorBatch(*map(torch.from_numpy, (*pictures, frame_mels, window_mel)))


Samples = SyncNetSamples | GeneratorSamples


class Windows(Dataset):
    """Numbered samples over clips."""

    def __init__(self, clips: Sequence[ClipWindows], samples: Samples, seed: int, clips_equal: bool):
        """samples: makes a sample of a clip and an anchor.
        seed: with the number of a sample it determines the sample.
        clips_equal: every clip is drawn as often as any other, as in the release, so that a second of a long clip
            is seen less often than one of a short clip; otherwise every window is drawn as often as any other.
        """
        self.clips = clips
        self.samples = samples
        self.seed = seed
        self.clips_equal = clips_equal
        self._ends = np.cumsum([len(clip.anchors) for clip in clips])

    def __getitem__(self, number: int) -> Any:
        """Sample `number`; a damaged one is named in the log and replaced by another draw, ten times at most."""
        for attempt in range(TRIES):
            rng = np.random.default_rng((self.seed, number, attempt))
            clip, anchor = self._draw(rng)
            try:
                return self.samples(clip, anchor, rng)
            except InputError as error:
                log.warning("left out: %s", error)
                last = error
        raise InputError(f"{TRIES} draws in a row were damaged, the last: {last}")

    def _draw(self, rng: np.random.Generator) -> tuple[ClipWindows, int]:
        if self.clips_equal:
            clip = self.clips[int(rng.integers(len(self.clips)))]
            return clip, int(clip.anchors[int(rng.integers(len(clip.anchors)))])
        window = int(rng.integers(self._ends[-1]))
        i = int(np.searchsorted(self._ends, window, side="right"))
        clip = self.clips[i]
        return clip, int(clip.anchors[window - self._ends[i]])


def open_windows(data_root: Path, filelist: Path, windows_of: Callable[[Clip], ClipWindows]) -> list[ClipWindows]:
    """The clips of a file list that have a usable window; what is left out is logged with its reason.

    windows_of: ClipWindows.for_syncnet or for_generator.
    Raises: InputError if none is left, with the reason of the first.
    """
    found: list[ClipWindows] = []
    reasons: list[str] = []
    ids = read_filelist(filelist, data_root)
    for clip_id in ids:
        try:
            found.append(_usable(windows_of(Clip.open(data_root / clip_id))))
        except InputError as error:
            log.warning("left out: %s", error)
            reasons.append(str(error))
    if not found:
        raise InputError(
            f"{filelist}: none of its {len(ids)} clips under {data_root} can be used; the first: {reasons[0]}"
        )
    return found


def _usable(windows: ClipWindows) -> ClipWindows:
    clip = windows.clip
    if len(clip.frames) < FEWEST_FRAMES:
        raise InputError(f"{clip.path}: has {len(clip.frames)} face crops, fewer than {FEWEST_FRAMES}")
    if not len(windows.anchors):
        raise InputError(
            f"{clip.path}: has no window of 5 consecutive frames with 0.2 s of sound; "
            "check that its frames and its audio.wav are of the same seconds"
        )
    return windows


class Numbers(Sampler[int]):
    """The sample numbers of one process, from a step on and without end: ranks take turns of a batch each."""

    def __init__(self, batch_size: int, first_step: int = 0, rank: int = 0, ranks: int = 1):
        self.batch_size, self.first_step, self.rank, self.ranks = batch_size, first_step, rank, ranks

    def __iter__(self) -> Iterator[int]:
        start = (self.first_step * self.ranks + self.rank) * self.batch_size
        while True:
            yield from range(start, start + self.batch_size)
            start += self.ranks * self.batch_size


def loader(windows: Windows, numbers: Sampler[int] | range, batch_size: int, workers: int, pin: bool) -> DataLoader:
    """Batches of the samples with these numbers, made ahead by worker processes that live as long as the loader."""
    return DataLoader(
        windows,
        batch_size=batch_size,
        sampler=numbers,  # type: ignore[arg-type]
        num_workers=workers,
        persistent_workers=workers > 0,
        # A worker forked from a process whose libraries already run threads may wait for one of them for ever.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
        pin_memory=pin,
    )


def _begin_worker(_worker: int) -> None:
    cv2.setNumThreads(1)  # workers that each use every core slow one another down
    torch.set_num_threads(1)
    # A signal sent to all processes is for the loop, which saves first and then lets its workers go. One that is told
    # to end and is still there after a while ends by the alarm, or a main process that waits for it would never leave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def batches(data: DataLoader) -> Iterator[Any]:
    """The loader's batches; what went wrong in a worker comes out as the one sentence it was there."""
    try:
        yield from data
    except InputError as error:
        last_line = str(error).strip().splitlines()[-1]  # a worker wraps it into the text of a traceback
        raise InputError(last_line.removeprefix("wav2lip.errors.InputError: ")) from error
