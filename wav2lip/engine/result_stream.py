"""The engine protocol and the frame stream it returns."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Protocol, TypeVar

import numpy as np

from wav2lip import __version__
from wav2lip.engine.interface import FaceLocator, FrameItem, IsCancelled, OnProgress, Result, Source, never
from wav2lip.types import PathType

T = TypeVar("T")
Options = TypeVar("Options", contravariant=True)


class Cancelled(Exception):
    """The caller cancelled the request."""


class FrameStream:
    """Iterator over finished frames, generated a few frames ahead of the consumer.

    Use it as a context manager, or close it: that ends its threads and removes its temporary files, at any moment and
    from any thread except within `is_cancelled`, which its own threads call.
    """

    def __init__(
        self,
        items: Generator[FrameItem, None, None],
        length: int,
        audio_length: int,
        fps: Fraction,
        audio: PathType,
        resources: contextlib.ExitStack,
        is_cancelled: IsCancelled,
        locator: FaceLocator | None = None,
    ):
        """items: finished frames. audio_length: number of frames with audio. resources: closed with the stream.
        locator: of the faces, for `has_cached_faces`.
        """
        self.length = length  # expected frames, as the source states
        self.fps = fps
        self.audio = audio  # file with the driving audio; exists until the stream is closed
        self._items = items
        self._audio_length = audio_length
        self._resources = resources
        self._is_cancelled = is_cancelled
        self._locator = locator
        self._peeked: FrameItem | None = None  # first frame, generated early for `size`
        self._size: tuple[int, int] | None = None
        self._has_face: list[bool] = []  # one for each frame read
        self.held_back = 0  # frames read so far in which a generated face was faded out
        self._lock = threading.RLock()  # held while a frame is generated or the stream is closed
        self._closed = False

    @property
    def num_read(self) -> int:
        """Number of frames read so far."""
        return len(self._has_face)

    @property
    def has_cached_faces(self) -> bool:
        """True if the faces of the frames read so far were located by an earlier run."""
        return bool(getattr(self._locator, "is_cached", False))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames in pixels; generates the first frame."""
        with self._lock:
            if self._size is None:
                self._peeked = self._generate()
        assert self._size is not None
        return self._size

    @property
    def without_face(self) -> list[tuple[float, float]]:
        """Spans in seconds of the frames read so far that have audio, but no face, and are unchanged."""
        return _false_spans(self._has_face[: self._audio_length], float(self.fps))

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        """Return the next frame, (H, W, 3) uint8 RGB; the caller may keep and modify it."""
        with self._lock:
            if self._closed:
                raise StopIteration
            item, self._peeked = self._peeked or self._generate(), None
            self.held_back += item.is_held_back
            self._has_face.append(any(target.voice is not None for target in item.targets))
            return item.frame

    def _generate(self) -> FrameItem:
        check_cancelled(self._is_cancelled)
        item = next(self._items)
        self._size = (item.frame.shape[1], item.frame.shape[0])
        return item

    def close(self) -> None:
        """End all threads and remove temporary files.

        If another thread is reading a frame, wait until it has received it, which is its last one.
        """
        self._closed = True  # set before acquiring the lock: a thread that iterates continuously could starve this one
        with self._lock:
            try:
                self._items.close()
            finally:
                self._resources.close()

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Engine(Protocol[Options]):
    """Generate videos of a talking head from a face and driving audio."""

    def __call__(
        self, face: PathType | np.ndarray | Source, audio: PathType | tuple[np.ndarray, float], outfile: PathType,
        options: Options, progress: OnProgress | None = None, is_cancelled: IsCancelled = never,
    ) -> Result:  # fmt: skip
        """Write a video."""

    def stream(
        self, face: PathType | np.ndarray | Source, audio: PathType | tuple[np.ndarray, float], options: Options,
        is_cancelled: IsCancelled = never,
    ) -> FrameStream:  # fmt: skip
        """Return the frames of a result without writing a file."""


def cancellable(items: Iterable[T], is_cancelled: IsCancelled) -> Iterator[T]:
    """Yield items until the request is cancelled. Raises: Cancelled."""
    for item in items:
        check_cancelled(is_cancelled)
        yield item


def check_cancelled(is_cancelled: IsCancelled) -> None:
    """Raise Cancelled if the request is cancelled."""
    if is_cancelled():
        raise Cancelled("the request was cancelled")


def provenance_comment(checkpoint: str | None, part: str = "The lips") -> str:
    """Return the metadata comment of a result.

    checkpoint: hash of the generator's file, None without a file. part: of the video that was generated.
    """
    comment = f"{part} in this video were generated by wav2lip-toolkit {__version__}"
    return f"{comment}, checkpoint sha256 {checkpoint}" if checkpoint else comment


def _false_spans(flags: Sequence[bool], fps: float) -> list[tuple[float, float]]:
    """Return start and end in seconds of each run of False."""
    spans, first = [], 0
    for flag, run in itertools.groupby(flags):
        length = len(list(run))
        if not flag:
            spans.append((first / fps, (first + length) / fps))
        first += length
    return spans
