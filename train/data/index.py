"""Index of the windows to train on, and random draws from it that depend only on the seed and the sample number.

A window is five consecutive frames. Its position is that of its first frame, clip * CLIP_STRIDE + frame: one
int64 that sorts by clip, then by frame. Letters: B samples, C clips, R runs of consecutive frames.

Example, positions written as clip:frame, with audio for all frames:

    FrameRuns     0:0-0:6, 0:10-0:14, 1:0-1:4         frames 7 to 9 of clip 0 have no face
    windows       0:0 0:1 0:2 0:10 1:0                 all windows of five consecutive frames
    anchors       0:0 0:1 0:2 0:10                     for_syncnet(runs, 5): clip 1 has no second window as a negative
    sample 7      words = CounterRNG(seed).draw([7])   four random words, say 102, 55, 8, 31
                  anchor: 102 % 4 = 2, so 0:2          draw_anchors
                  negative: one of 0:10                draw_other: windows of the clip 5 or more frames away
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wav2lip.audio.mel import MEL_RATE
from wav2lip.audio.windows import FPS, LEAD_COLUMNS, WINDOW_COLUMNS, WINDOW_FRAMES

CLIP_STRIDE = 1 << 40  # positions per clip; more than any frame number


class CounterRNG:
    """Random words that are a function of (seed, stream, number): blocks of the counter-based generator Philox."""

    def __init__(self, seed: int, stream: int = 0):
        """stream: independent words for the same seed."""
        self._key = np.array([seed, stream], np.uint64)

    def draw(self, numbers: Sequence[int]) -> Tensor:
        """Return four words for each sample number, (B, 4) int64, uniform in [0, 2^63)."""
        low, high = min(numbers), max(numbers)
        if high - low < 16 * len(numbers):  # numbers of a batch are close to one another: one generator for all
            blocks = self._blocks(low, high - low + 1)[np.asarray(numbers) - low]
        else:
            blocks = np.concatenate([self._blocks(number, 1) for number in numbers])
        return torch.from_numpy((blocks >> np.uint64(1)).astype(np.int64))

    def _blocks(self, first: int, count: int) -> np.ndarray:
        return np.random.Philox(key=self._key, counter=first).random_raw(4 * count).reshape(count, 4)


def to_position(clip: Tensor, frame: Tensor) -> Tensor:
    """Return positions (B,) of frames of clips; distances are in frames within a clip, far larger between clips."""
    return clip * CLIP_STRIDE + frame


def from_position(position: Tensor) -> tuple[Tensor, Tensor]:
    """Return clip and frame of positions."""
    return position // CLIP_STRIDE, position % CLIP_STRIDE


def first_columns(frames: Tensor) -> Tensor:
    """Return wav2lip.audio.windows.first_column of each frame, with the same order of operations in float64."""
    return torch.floor(MEL_RATE * (frames.double() / FPS)).long()


def last_audio_frame(mel_columns: Tensor) -> Tensor:
    """Return the last frame whose audio window ends within each mel, (C,); -1 if there is none."""
    longest = int(mel_columns.max()) if len(mel_columns) else 0
    frames = torch.arange(int(longest / LEAD_COLUMNS) + 2)
    return torch.searchsorted(first_columns(frames), mel_columns - WINDOW_COLUMNS, right=True) - 1


@dataclass(frozen=True)
class FrameRuns:
    """The frames of some clips as runs of consecutive numbers, sorted by clip and frame; all int64."""

    clip: Tensor  # (R,)
    first: Tensor  # (R,) frame numbers
    count: Tensor  # (R,)
    mel_columns: Tensor  # (C,) of each clip

    @cached_property
    def _positions(self) -> Tensor:
        return to_position(self.clip, self.first)

    def find(self, clip: Tensor, frame: Tensor) -> Tensor:
        """Return the run that contains each frame, (B,)."""
        return torch.searchsorted(self._positions, to_position(clip, frame), right=True) - 1

    def sum_by_clip(self, values: Tensor) -> Tensor:
        """Sum values (R,) over the runs of each clip, (C,)."""
        return torch.zeros_like(self.mel_columns).index_add_(0, self.clip, values)

    def select(self, mask: Tensor) -> FrameRuns:
        """Return the runs of the clips in a mask (C,), renumbered."""
        runs, number = mask[self.clip], mask.cumsum(0) - 1
        return FrameRuns(number[self.clip[runs]], self.first[runs], self.count[runs], self.mel_columns[mask])

    def windows(self) -> Tensor:
        """Return the positions of all windows of consecutive frames, ascending."""
        counts = (self.count - (WINDOW_FRAMES - 1)).clamp(min=0)
        starts = (self._positions - (counts.cumsum(0) - counts)).repeat_interleave(counts)
        return starts + torch.arange(len(starts))


@dataclass(frozen=True)
class WindowIndex:
    """Windows that samples are drawn from."""

    runs: FrameRuns
    windows: Tensor  # ascending positions of all windows
    anchors: Tensor  # ascending positions of the windows that also have audio: the targets of samples

    @classmethod
    def for_syncnet(cls, runs: FrameRuns, min_negative_offset: int) -> WindowIndex:
        """Select anchors with a complete audio window and another window at least `min_negative_offset` frames away."""
        windows = runs.windows()
        clip, frame = from_position(windows)
        begin, end = cls(runs, windows, windows).window_bounds[torch.stack([clip, clip + 1])]
        has_audio = frame <= last_audio_frame(runs.mel_columns)[clip]
        has_negative = (windows - windows[begin] >= min_negative_offset) | (
            windows[end - 1] - windows >= min_negative_offset
        )
        return cls(runs, windows, windows[has_audio & has_negative])

    @classmethod
    def for_generator(cls, runs: FrameRuns) -> WindowIndex:
        """Select anchors with five complete per-frame audio windows, from one frame early on, and another window."""
        windows = runs.windows()
        clip, frame = from_position(windows)
        last = last_audio_frame(runs.mel_columns) + 1 - (WINDOW_FRAMES - 1)
        has_reference = clip.bincount(minlength=len(runs.mel_columns)) > 1
        return cls(runs, windows, windows[(frame >= 1) & (frame <= last[clip]) & has_reference[clip]])

    @cached_property
    def window_bounds(self) -> Tensor:
        """(C + 1,) index in `windows` where each clip starts, and their number."""
        return self._bounds(self.windows)

    @cached_property
    def anchor_bounds(self) -> Tensor:
        """(C + 1,) index in `anchors` where each clip starts, and their number."""
        return self._bounds(self.anchors)

    def _bounds(self, positions: Tensor) -> Tensor:
        return torch.searchsorted(positions, torch.arange(len(self.runs.mel_columns) + 1) * CLIP_STRIDE)

    @property
    def anchors_per_clip(self) -> Tensor:
        """(C,) number of anchors."""
        return self.anchor_bounds.diff()

    def draw_anchors(self, words: Tensor, uniform_clips: bool) -> tuple[Tensor, Tensor]:
        """Return clip and first frame of an anchor for random words (B, 2).

        uniform_clips: every clip is equally likely; otherwise every anchor is.
        """
        if uniform_clips:
            clip = words[:, 0] % len(self.runs.mel_columns)
            return clip, self.draw_anchors_in(clip, words[:, 1])
        return from_position(self.anchors[words[:, 0] % len(self.anchors)])

    def draw_anchors_in(self, clip: Tensor, word: Tensor) -> Tensor:
        """Return the first frame of an anchor in each clip, (B,), uniform for random words (B,)."""
        begin = self.anchor_bounds[clip]
        return from_position(self.anchors[begin + word % (self.anchor_bounds[clip + 1] - begin)])[1]

    def draw_other(self, clip: Tensor, anchor: Tensor, min_offset: int, word: Tensor) -> Tensor:
        """Return the first frame, (B,), of a window of each clip at least `min_offset` frames from the anchor."""
        begin, end = self.window_bounds[clip], self.window_bounds[clip + 1]
        position = to_position(clip, anchor)
        before = torch.searchsorted(self.windows, position - min_offset, right=True)  # end of those before the anchor
        after = torch.searchsorted(self.windows, position + min_offset)  # start of those after it
        chosen = begin + word % (before - begin + end - after)
        return from_position(self.windows[torch.where(chosen < before, chosen, chosen - before + after)])[1]

    def longest_run(self) -> tuple[int, int, int]:
        """Return clip, first frame and length of the longest run of consecutive anchors."""
        starts = torch.cat([torch.tensor([0]), (self.anchors.diff() != 1).nonzero().flatten() + 1])
        lengths = torch.cat([starts, torch.tensor([len(self.anchors)])]).diff()
        clip, frame = from_position(self.anchors[starts[lengths.argmax()]])
        return int(clip), int(frame), int(lengths.max())
