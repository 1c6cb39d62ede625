"""A result as it is made, frame after frame."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from os import PathLike
from types import TracebackType
from typing import TypeVar

import numpy as np

from wav2lip.lipsync.shown import Shown

T = TypeVar("T")

IsCancelled = Callable[[], bool]  # asked for each frame read and each frame made, by the threads that do so


def never() -> bool:
    """For those who do not cancel."""
    return False


class Cancelled(Exception):
    """The caller asked for a result no more."""


class Stream:
    """The finished frames, each once, in order; they are made a few ahead of being asked for.

    Use it as a context manager, or close it: that ends its threads and takes away what it wrote, at any moment and from
    any thread. Only `cancelled`, which its own threads ask, must not close it.
    """

    def __init__(
        self, shown: Generator[Shown, None, None], length: int, heard: int, fps: Fraction, sound: str | PathLike[str],
        held: contextlib.ExitStack, cancelled: IsCancelled,
    ):  # fmt: skip
        """shown: the finished frames. heard: of them, those that have sound. held: what is let go of at the end."""
        self.length = length  # frames, by what the source states of itself
        self.fps = fps  # frames a second
        self.sound = sound  # file with the driving sound; it stands at least until this is closed
        self._shown = shown
        self._heard = heard
        self._held = held
        self._cancelled = cancelled
        self._first: Shown | None = None  # made because its size was asked for
        self._size: tuple[int, int] | None = None
        self._painted: list[bool] = []
        self._busy = threading.RLock()  # held while a frame is made, or all is let go of
        self._closed = False

    @property
    def taken(self) -> int:
        """How many frames were taken so far."""
        return len(self._painted)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames, in pixels; the first one is made when this is asked for."""
        with self._busy:
            if self._size is None:
                self._first = self._made()
        assert self._size is not None
        return self._size

    @property
    def without_face(self) -> list[tuple[float, float]]:
        """Where the frames taken so far had sound and no face and are unchanged, as spans of seconds."""
        return _spans_without(self._painted[: self._heard], float(self.fps))

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        """The next frame, (H, W, 3) uint8 RGB; it is the caller's, to keep or to change."""
        with self._busy:
            if self._closed:
                raise StopIteration
            shown, self._first = self._first or self._made(), None
            self._painted.append(bool(shown.targets))
            return shown.frame

    def _made(self) -> Shown:
        raise_if(self._cancelled)
        shown = next(self._shown)
        self._size = (shown.frame.shape[1], shown.frame.shape[0])
        return shown

    def close(self) -> None:
        """Stop making frames; no thread and no file of this is left.

        Waits for a frame that another thread is taking; that thread gets it, and then no more.
        """
        self._closed = True  # before the wait: who takes frame after frame would seldom let go of the lock
        with self._busy:
            try:
                self._shown.close()
            finally:
                self._held.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def watched(items: Iterable[T], cancelled: IsCancelled) -> Iterator[T]:
    """The same items, none of them once the caller wants no more. Raises: Cancelled."""
    for item in items:
        raise_if(cancelled)
        yield item


def raise_if(cancelled: IsCancelled) -> None:
    """Raises: Cancelled if that is so."""
    if cancelled():
        raise Cancelled("the result was asked for no more")


def _spans_without(painted: Sequence[bool], fps: float) -> list[tuple[float, float]]:
    """Where no face was painted, as spans of seconds."""
    spans, number = [], 0
    for done, run in itertools.groupby(painted):
        length = len(list(run))
        if not done:
            spans.append((number / fps, (number + length) / fps))
        number += length
    return spans
