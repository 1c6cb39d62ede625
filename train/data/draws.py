"""Which windows clips have, and which of them a sample number draws: whole batches of integers, wherever they lie.

All arithmetic is on int64 tensors, so that it can be done on any device.
Letters: B samples, C clips, R runs of consecutive frames, S spans of consecutive anchors; all numbered from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from wav2lip.audio import MEL_RATE
from wav2lip.windows import FPS, LEAD_COLUMNS, WINDOW_COLUMNS, WINDOW_FRAMES

LARGEST = (1 << 63) - 1
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # SplitMix64's step from a state to the next
REACH = WINDOW_FRAMES - 1  # frames after the first of a window
FURTHER = 1 << 40  # more than any frame number: sets the frames of a clip apart from the next one's


def first_columns(frames: Tensor) -> Tensor:
    """wav2lip.windows.first_column for a tensor of frame numbers, in the same order of operations in doubles."""
    return torch.floor(MEL_RATE * (frames.double() / FPS)).long()


@dataclass(frozen=True)
class Runs:
    """The frames that some clips have, as runs of consecutive numbers, ascending within a clip."""

    clip: Tensor  # (R,) ascending
    first: Tensor  # (R,) frame numbers
    count: Tensor  # (R,)
    columns: Tensor  # (C,) mel columns of each clip

    @cached_property
    def _keys(self) -> Tensor:
        return self.clip * FURTHER + self.first

    def find(self, clip: Tensor, frame: Tensor) -> Tensor:
        """(B,) the last run that begins at or before a frame of a clip; an earlier clip's, or -1, if there is none."""
        return torch.searchsorted(self._keys, clip * FURTHER + frame, right=True) - 1

    def total(self, of_runs: Tensor) -> Tensor:
        """Numbers of the runs (R,) summed up for each clip, (C,)."""
        return torch.zeros_like(self.columns).index_add_(0, self.clip, of_runs)

    def select(self, kept: Tensor) -> Runs:
        """The runs of some clips, kept (C,) bool, which are counted through anew."""
        of_kept, number = kept[self.clip], kept.cumsum(0) - 1
        return Runs(number[self.clip[of_kept]], self.first[of_kept], self.count[of_kept], self.columns[kept])


@dataclass(frozen=True)
class ClipWindows:
    """The windows that training may use, each named by its first frame.

    Whole windows are five consecutive frames; they are numbered through. Anchors are those that have their sound too;
    they come in spans of consecutive ones and are numbered through likewise.
    """

    runs: Runs
    span_clip: Tensor  # (S,) ascending
    span_first: Tensor  # (S,) frame numbers
    span_count: Tensor  # (S,)

    @classmethod
    def for_syncnet(cls, runs: Runs, min_shift: int) -> ClipWindows:
        """Anchors whose window of sound is complete and that have a wrong window at least `min_shift` away."""
        windows = cls(runs, *(runs.first.new_empty(0) for _ in range(3)))
        earliest = windows.whole_at(windows.clip_begins)[1][runs.clip]
        latest = windows.whole_at(windows.clip_ends - 1)[1][runs.clip]
        last = torch.minimum(runs.first + windows.whole - 1, last_heard(runs.columns)[runs.clip])
        after = torch.maximum(earliest + min_shift, latest - min_shift + 1)
        low = torch.stack([runs.first, torch.maximum(runs.first, after)], 1)
        high = torch.stack([torch.minimum(last, latest - min_shift), last], 1)
        return cls.spanning(runs, low, high)

    @classmethod
    def for_generator(cls, runs: Runs) -> ClipWindows:
        """Anchors whose five per-frame windows of sound are complete; frame 0 has no sound before it."""
        whole = (runs.count - REACH).clamp(min=0)
        last_of_sound = last_heard(runs.columns) + 1 - REACH  # the window of a single frame begins a frame early
        high = torch.minimum(runs.first + whole - 1, last_of_sound[runs.clip])
        high = torch.where(runs.total(whole)[runs.clip] > 1, high, -1)  # another window is needed as reference
        return cls.spanning(runs, runs.first.clamp(min=1)[:, None], high[:, None])

    @classmethod
    def spanning(cls, runs: Runs, low: Tensor, high: Tensor) -> ClipWindows:
        """Anchors are the frames from low to high, (R, spans in a run) each, where these are in order."""
        count = (high - low + 1).clamp(min=0)
        there = count > 0
        return cls(runs, runs.clip[:, None].expand_as(low)[there], low[there], count[there])

    @cached_property
    def whole(self) -> Tensor:
        """(R,) how many whole windows each run has."""
        return (self.runs.count - REACH).clamp(min=0)

    @cached_property
    def whole_ends(self) -> Tensor:
        """(R,) running total of whole windows."""
        return self.whole.cumsum(0)

    @cached_property
    def clip_ends(self) -> Tensor:
        """(C,) the same at the end of each clip."""
        return self.runs.total(self.whole).cumsum(0)

    @cached_property
    def clip_begins(self) -> Tensor:
        """(C,) the same at the beginning of each clip."""
        return self.clip_ends - self.runs.total(self.whole)

    @cached_property
    def anchors(self) -> Tensor:
        """(C,) how many anchors each clip has."""
        return torch.zeros_like(self.runs.columns).index_add_(0, self.span_clip, self.span_count)

    @cached_property
    def anchor_ends(self) -> Tensor:
        """(C,) running total of anchors at the end of each clip."""
        return self.anchors.cumsum(0)

    @cached_property
    def _span_ends(self) -> Tensor:
        return self.span_count.cumsum(0)

    @cached_property
    def _total(self) -> int:
        return int(self.span_count.sum())

    def whole_at(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Clip and first frame of whole windows by their number; any for a number that is none."""
        run = torch.searchsorted(self.whole_ends, number, right=True).clamp(max=len(self.whole) - 1)
        return self.runs.clip[run], self.runs.first[run] + number - (self.whole_ends[run] - self.whole[run])

    def anchor_at(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Clip and first frame of anchors by their number."""
        span = torch.searchsorted(self._span_ends, number, right=True)
        begin = self._span_ends[span] - self.span_count[span]
        return self.span_clip[span], self.span_first[span] + number - begin

    def all_anchors(self) -> tuple[Tensor, Tensor]:
        """Clip and first frame of every anchor, in order."""
        return self.anchor_at(torch.arange(self._total, device=self.span_first.device))

    def draw(self, words: Tensor, clips_equal: bool) -> tuple[Tensor, Tensor]:
        """Clip and first frame of an anchor for each row of random words (B, 2).

        clips_equal: every clip is drawn as often as any other; otherwise every anchor is.
        """
        if not clips_equal:
            return self.anchor_at(words[:, 0] % self._total)
        clip = words[:, 0] % len(self.anchors)
        return clip, self.draw_in(clip, words[:, 1])

    def draw_in(self, clip: Tensor, word: Tensor) -> Tensor:
        """(B,) first frame of an anchor of each clip (B,), uniformly by random words (B,)."""
        among = self.anchors[clip]
        return self.anchor_at(self.anchor_ends[clip] - among + word % among)[1]

    def draw_other(self, clip: Tensor, anchor: Tensor, min_shift: int, word: Tensor) -> Tensor:
        """(B,) a whole window of each clip, at least `min_shift` frames from the anchor, uniformly."""
        begin, end = self.clip_begins[clip], self.clip_ends[clip]
        before = self._whole_until(clip, anchor - min_shift)
        after = self._whole_until(clip, anchor + min_shift - 1)
        number = begin + word % (before - begin + end - after)
        return self.whole_at(torch.where(number < before, number, number - before + after))[1]

    def _whole_until(self, clip: Tensor, frame: Tensor) -> Tensor:
        """How many whole windows there are in earlier clips, and in this one until a frame, that one included."""
        run = self.runs.find(clip, frame)
        begun = run.clamp(min=0)
        passed = torch.minimum(frame - self.runs.first[begun] + 1, self.whole[begun])
        until = self.whole_ends[begun] - self.whole[begun] + passed
        inside = (run >= 0) & (self.runs.clip[begun] == clip)
        return torch.where(inside, until, self.clip_begins[clip])


def last_heard(columns: Tensor) -> Tensor:
    """The last frame whose window of sound ends within a mel of so many columns, (C,); -1 if none does."""
    longest = int(columns.max()) if len(columns) else 0
    frames = torch.arange(int(longest / LEAD_COLUMNS) + 2, device=columns.device)
    return torch.searchsorted(first_columns(frames), columns - WINDOW_COLUMNS, right=True) - 1


class Words:
    """Random words by seed and number alone: SplitMix64, a generator that is a hash of a counter."""

    def __init__(self, seed: int, attempts: int):
        """attempts: how many independent draws each number has."""
        self._keys = mix(mix(torch.tensor(_signed(seed))) + GOLDEN * torch.arange(attempts))

    def of(self, numbers: Sequence[int], attempt: int, count: int) -> Tensor:
        """(B, count) int64, each uniform in [0, 2^63)."""
        states = mix(torch.tensor(numbers, dtype=torch.int64) * GOLDEN + self._keys[attempt])
        return mix(states[:, None] + GOLDEN * torch.arange(1, count + 1)) & LARGEST


def mix(state: Tensor) -> Tensor:
    """SplitMix64's output for a state: every bit of it depends on every bit of the state. int64 stands for uint64."""
    state = (state ^ _shifted(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _signed(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    return (state >> bits) & ((1 << (64 - bits)) - 1)  # the sign does not come along


def _signed(word: int) -> int:
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)
