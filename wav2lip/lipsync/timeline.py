"""Which frame of the source each frame of the result shows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from fractions import Fraction
from typing import Protocol

import numpy as np

from wav2lip.lipsync.ahead import ahead
from wav2lip.lipsync.shown import Shown, Target

Found = tuple[np.ndarray, Sequence[Target]]  # a frame and the faces in it that get new lips
Finder = Callable[[Iterable[np.ndarray]], Iterable[Found]]  # all frames of the source, in order, each once

FITS = ("loop", "pingpong", "freeze", "trim")  # what becomes of sound that is longer than the video
SHORTS = ("trim", "keep")  # what becomes of video that is longer than the sound

DECODED = 8  # frames read before they are asked for
BLOCK = 128 << 20  # bytes of frames that are held where a video is read backwards


class Source(Protocol):
    """Frames that can be read again from the beginning."""

    @property
    def static(self) -> bool:
        """Whether there is one frame only."""

    @property
    def stated_frames(self) -> int:
        """How many frames there are, by what is known before they are read; 0 if nothing is, or there is one only."""

    @property
    def fps(self) -> Fraction:
        """Frames a second of the result."""

    @property
    def path(self) -> object:
        """What a sentence for the user calls it."""

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Every frame once, (H, W, 3) uint8 RGB, from `first` up to but not including `last`."""


def play(
    source: Source, find: Finder, length: int, fit: str = "loop", short: str = "trim"
) -> Generator[Shown, None, None]:  # fmt: skip
    """The frames of a result for sound of `length` frames.

    fit: how a source with fewer frames is drawn out, one of FITS. loop: it begins again; pingpong: it runs backwards
        and forwards; freeze: its last frame stays; trim: the result ends with it. It is not searched for faces again.
    short: what becomes of the frames of a longer one, one of SHORTS. trim: they are left out; keep: they follow
        without targets.
    """
    known: list[Sequence[Target]] = []
    last: np.ndarray | None = None
    with closing(ahead(source.frames(), DECODED, lambda frame: frame.nbytes)) as frames:
        found = find(itertools.islice(frames, length))
        if source.static:
            for frame, targets in list(found):  # to its end, where a finder says that there was no face
                yield from (Shown(number, frame.copy(), targets) for number in range(length))
            return
        for frame, targets in found:
            if not known or fit == "freeze":
                last = frame.copy()  # before it is painted
            known.append(targets)
            yield Shown(len(known) - 1, frame, targets)
        if short == "keep" and len(known) == length:
            yield from (Shown(number, frame, ()) for number, frame in enumerate(frames, length))
            return
    if last is None or fit == "trim":
        return
    if fit == "freeze" or len(known) == 1:
        yield from (Shown(number, last.copy(), known[-1]) for number in range(len(known), length))
        return
    again = _to_and_fro(source, len(known), last.nbytes) if fit == "pingpong" else _over_and_over(source, len(known))
    with closing(ahead(again, DECODED, lambda one: one[1].nbytes)) as more:
        for number, (at, frame) in zip(range(len(known), length), more, strict=False):
            yield Shown(number, frame, known[at])


def _over_and_over(source: Source, count: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """The source's first `count` frames with their numbers, again and again."""
    while True:
        yield from zip(range(count), source.frames(), strict=False)


def _to_and_fro(source: Source, count: int, size: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """From the last of `count` frames of `size` bytes back to the first and forth, no turning point shown twice."""
    while True:
        yield from _backwards(source, count - 1, max(1, BLOCK // size))
        yield from zip(range(1, count), source.frames(1), strict=False)


def _backwards(source: Source, count: int, block: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """The first `count` frames, the last of them first; `block` frames are held at a time."""
    for end in range(count, 0, -block):
        first = max(0, end - block)
        held = list(source.frames(first, end))
        for at in range(first + len(held) - 1, first - 1, -1):
            yield at, held.pop()  # so that none is held longer than needed


def expected_frames(length: int, stated: int, fit: str, short: str) -> int:
    """How many frames a result for sound of `length` frames will have, by what its source states (0: nothing)."""
    if (0 < stated < length and fit == "trim") or (stated > length and short == "keep"):
        return stated
    return length
