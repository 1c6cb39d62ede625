"""Timeline of a result: assignment of source frames to the frames of the driving audio."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction

import numpy as np

from wav2lip.engine.interface import FaceTarget, FrameItem, IsCancelled, LocatedFrame, Source, never
from wav2lip.engine.result_stream import cancellable
from wav2lip.prefetch import prefetch

NUM_DECODED_AHEAD = 8  # frames
KEEP_REST = "keep_rest"  # fit of `read_range` for the frames after the audio
MAX_HOLD_S = 0.5  # a source that is shorter by less ends with its last frame: its own audio is often longer by so much
MAX_REVERSE_BYTES = 128 << 20  # limit of the frames buffered while a video is read backwards


def decode(source: Source) -> Generator[np.ndarray, None, None]:
    """Yield all frames of a source, decoded ahead in a thread."""
    return prefetch(source.frames(), NUM_DECODED_AHEAD, lambda frame: frame.nbytes)


def fill_timeline(
    located: Iterable[LocatedFrame],
    remaining: Iterable[np.ndarray],
    source: Source,
    length: int,
    fit: str = "loop",
    short: str = "trim",
    hold: bool = True,
) -> Generator[FrameItem, None, None]:
    """Yield the frames of a result for audio of `length` frames.

    located: the first `length` frames of the source with their targets, fewer if the source is shorter.
    remaining: frames of the source after those.
    fit: extension of a shorter source, with the targets located before. loop: restart it; pingpong: play it backwards
        and forwards; freeze: repeat its last frame; trim: end the result with it.
    hold: repeat the last frame of a source that is shorter by less than `MAX_HOLD_S`, see `extension`.
    short: treatment of the remaining frames of a longer source. trim: drop them; keep: append them without targets.
    """
    targets: list[Sequence[FaceTarget]] = []
    last: np.ndarray | None = None
    max_hold = max_hold_frames(source.fps) if hold else 0
    if source.static:
        for frame, faces in list(located):  # exhausted, because a locator raises at its end if it found no face
            yield from (FrameItem(index, frame.copy(), faces) for index in range(length))
        return
    for frame, faces in located:
        if not targets or fit == "freeze" or length - len(targets) <= max_hold + 1:
            last = frame.copy()  # before it is modified
        targets.append(faces)
        yield FrameItem(len(targets) - 1, frame, faces)
    if short == "keep" and len(targets) == length:
        yield from (FrameItem(index, frame, ()) for index, frame in enumerate(remaining, length))
        return
    if last is None or fit == "trim":
        return
    if hold:
        fit = extension(fit, len(targets), length, source.fps)
    if fit == "freeze" or len(targets) == 1:
        yield from (FrameItem(index, last.copy(), targets[-1]) for index in range(len(targets), length))
        return
    count = len(targets)
    repeated = _play_back_and_forth(source, count, last.nbytes) if fit == "pingpong" else _restart(source, count)
    with closing(prefetch(repeated, NUM_DECODED_AHEAD, lambda pair: pair[1].nbytes)) as pairs:
        for index, (source_index, frame) in zip(range(count, length), pairs, strict=False):
            yield FrameItem(index, frame, targets[source_index])


def max_hold_frames(fps: Fraction) -> int:
    """Return the largest number of missing frames below `MAX_HOLD_S`."""
    return math.ceil(MAX_HOLD_S * fps) - 1


def extension(fit: str, count: int, length: int, fps: Fraction) -> str:
    """Return how a source of `count` frames is extended to `length`: as `fit`, or freeze if little is missing.

    Little is less than `MAX_HOLD_S` and less than the source: a restart would be visible as a jump.
    """
    is_little = length - count <= min(max_hold_frames(fps), count - 1)
    return "freeze" if is_little and fit in {"loop", "pingpong"} else fit


def read_range(
    source: Source, targets: Sequence[Sequence[FaceTarget]], first: int, last: int, fit: str = "loop"
) -> Generator[FrameItem, None, None]:
    """Yield the frames from `first` up to but not including `last` of a result, as `fill_timeline` yields them.

    targets: of all located source frames, as many as the source or the audio has. fit: as there, or KEEP_REST: the
        source is longer than the audio and its later frames follow without targets.
    """
    index = first
    while index < last:
        begin = _source_index(index, len(targets), fit, source.static)
        step, count = _run_of(source, index, last, len(targets), fit)
        for frame in _read_run(source, begin, step, count):
            number = _source_index(index, len(targets), fit, source.static)
            yield FrameItem(index, frame, targets[number] if number < len(targets) else ())
            index += 1


def _source_index(index: int, count: int, fit: str, static: bool) -> int:
    """Return the source frame of a frame of the result; count: located source frames."""
    if index < count or fit == KEEP_REST:
        return index
    if static or fit == "freeze" or count == 1:
        return count - 1
    if fit == "pingpong":
        position = index % (2 * (count - 1))
        return min(position, 2 * (count - 1) - position)
    return index % count


def _run_of(source: Source, first: int, last: int, count: int, fit: str) -> tuple[int, int]:
    """Return the step between the source frames from frame `first` of the result, and for how many it is constant."""
    previous = _source_index(first, count, fit, source.static)
    step: int | None = None
    for index in range(first + 1, last):
        current = _source_index(index, count, fit, source.static)
        if step not in (None, current - previous) or abs(current - previous) > 1:
            return step or 0, index - first
        step, previous = current - previous, current
    return step or 0, last - first


def _read_run(source: Source, begin: int, step: int, count: int) -> Iterator[np.ndarray]:
    """Yield `count` source frames from `begin` on: forwards, backwards, or the same one (step 1, -1 or 0)."""
    if step == 1:
        yield from source.frames(begin, begin + count)
    elif step == 0:
        (frame,) = source.frames(begin, begin + 1)
        yield from (frame.copy() for _ in range(count))
    else:
        (frame,) = source.frames(begin, begin + 1)
        block = max(1, MAX_REVERSE_BYTES // frame.nbytes)
        for end in range(begin + 1, begin + 1 - count, -block):
            yield from reversed(list(source.frames(max(begin + 1 - count, end - block), end)))


def first_frames(
    decoded: Iterable[np.ndarray], count: int, is_cancelled: IsCancelled = never
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the first `count` frames until the request is cancelled. Raises: Cancelled."""
    return cancellable(itertools.islice(decoded, count), is_cancelled)


def _restart(source: Source, count: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield the source's first `count` frames with their indices, endlessly."""
    while True:
        yield from zip(range(count), source.frames(), strict=False)


def _play_back_and_forth(source: Source, count: int, nbytes: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield `count` frames of `nbytes` bytes backwards and forwards, endlessly, turning points once."""
    while True:
        yield from _reverse(source, count - 1, max(1, MAX_REVERSE_BYTES // nbytes))
        yield from zip(range(1, count), source.frames(1), strict=False)


def _reverse(source: Source, count: int, block: int) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield the first `count` frames backwards, buffering `block` frames."""
    for end in range(count, 0, -block):
        first = max(0, end - block)
        buffer = list(source.frames(first, end))
        for index in range(first + len(buffer) - 1, first - 1, -1):
            yield index, buffer.pop()  # frees each frame early


def expected_frames(length: int, stated: int, fit: str, short: str) -> int:
    """Return the number of frames of a result for audio of `length` frames and a source that states `stated` (or 0)."""
    if (0 < stated < length and fit == "trim") or (stated > length and short == "keep"):
        return stated
    return length
