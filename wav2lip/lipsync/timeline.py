"""Which frame of the source each frame of the result shows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np

from wav2lip.lipsync.ahead import ahead
from wav2lip.lipsync.shown import Shown, Target

Found = tuple[np.ndarray, Sequence[Target]]  # a frame and the faces in it that get new lips
Finder = Callable[[Iterable[np.ndarray]], Iterable[Found]]  # all frames of the source, in order, each once


DECODED = 8  # frames read before they are asked for


class Source(Protocol):
    """Frames that can be read again from the beginning."""

    static: bool  # there is one frame only

    @property
    def path(self) -> object:
        """What a sentence for the user calls it."""

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Every frame once, (H, W, 3) uint8 RGB."""


def play(source: Source, find: Finder, length: int) -> Generator[Shown, None, None]:
    """As many frames as the result has; when the source ends it begins again, where its faces are known by then."""
    known: list[Sequence[Target]] = []
    number = 0
    with closing(ahead(source.frames(), DECODED)) as frames:
        for frame, targets in find(itertools.islice(frames, length)):
            known.append(targets)
            if source.static:
                yield from (Shown(number, frame.copy(), targets) for number in range(length))
                return
            yield Shown(number, frame, targets)
            number += 1
    while number < length:
        passes = min(len(known), length - number)
        with closing(ahead(source.frames(), DECODED)) as frames:
            for frame, targets in zip(itertools.islice(frames, passes), known, strict=False):
                yield Shown(number, frame, targets)
                number += 1
