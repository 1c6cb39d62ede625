"""The sound of a file, as a stream of mono blocks in step with its pictures."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import Any

import av
import numpy as np
import soxr

from wav2lip.media.container import Join, OnProblem, PathType, decoded, landed, open_media, probe, sound_of

log = logging.getLogger(__name__)


RUN_UP = 1.0  # seconds decoded before the first sample after a jump: compressed sound builds on what was before
PLANES = {"u8p": np.uint8, "s16p": np.int16, "s32p": np.int32, "s64p": np.int64, "fltp": np.float32, "dblp": np.float64}
GAP = 0.04  # seconds, one frame: sound that is missing for longer is replaced by silence


def read_audio(
    path: PathType,
    rate: int,
    start: float | None = None,
    on_problem: OnProblem = log.warning,
    jump: bool = False,
) -> Generator[np.ndarray, None, None]:
    """Decode sound in blocks.

    rate: Hz to resample to.
    start: time in the container, in seconds, at which the first sample is to be; sound before it is dropped, and
        silence is put in where the track begins later or has a gap. None: the beginning of the container.
    jump: go to `start` at once instead of decoding all that is before it; the file's times must not leap.
    Yields: (n,) float32 in [-1, 1], the mean over channels. The file is open until the end, or until this is closed.
    Raises: InputError if the file cannot be opened or has no sound.
    """
    probe(path).require_audio()
    with open_media(path) as container:
        stream = sound_of(container)
        assert stream is not None
        begin = (container.start_time or 0) / av.time_base if start is None else start
        far = jump and begin > RUN_UP
        frames = (
            landed(container, stream, begin - RUN_UP, on_problem) if far else decoded(container, stream, on_problem)
        )
        join = Join(container.name, stream.type, on_problem)
        blocks = _from_time(frames, begin, join)
        source_rate = stream.rate
        if source_rate == rate:
            yield from blocks
            return
        resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")
        for block in blocks:
            resampled = resampler.resample_chunk(block)
            if len(resampled):
                yield resampled
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(rest):
            yield rest


def _from_time(frames: Iterator, begin: float, join: Join) -> Iterator[np.ndarray]:
    """Mono blocks of decoded audio frames, so that the first sample is at `begin` and each at the time of its frame."""
    due, begun = 0, False  # the sample, counted from begin, that comes next; whether one was given
    for frame in frames:
        mono, rate = _mono(frame), frame.sample_rate
        now = due / rate  # seconds
        time = now if frame.time is None else frame.time - begin
        if begun or time > 0:  # sound from before `begin` is no joint: it is dropped
            time = join.place(time, now, now)
        jump = 0 if begun and abs(time - now) <= GAP else round(time * rate) - due  # samples
        yield from _silence(jump, rate)
        kept = mono[max(0, -jump) :]
        if len(kept):
            begun = True
            yield kept
        due += max(0, jump) + len(kept)
    join.report()


def _silence(samples: int, block: int) -> Iterator[np.ndarray]:
    return (np.zeros(min(block, samples - start), np.float32) for start in range(0, samples, block))


def _mono(frame: av.AudioFrame) -> np.ndarray:
    channels = len(frame.layout.channels)
    if frame.format.is_planar:
        # Not to_ndarray, which for eight channels reads a ninth and crashes (PyAV 18).
        kind = PLANES[frame.format.name]
        planes: tuple[Any, ...] = frame.planes[:channels]  # buffers
        samples = np.stack([np.frombuffer(plane, kind)[: frame.samples] for plane in planes])
    else:
        samples = frame.to_ndarray().reshape(-1, channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / 2.0 ** (8 * samples.dtype.itemsize - 1)
    return np.ascontiguousarray(samples.mean(axis=0, dtype=np.float32))
