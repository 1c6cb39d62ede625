"""Frames of a video as a stream with true timestamps, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial
from itertools import islice

import av
import numpy as np

from wav2lip.errors import InputError
from wav2lip.media.container import (
    MAX_GAP_S,
    UNTIMED_FORMATS,
    OnPacket,
    RestartDetector,
    TimestampRepair,
    decode_frames,
    find_video_stream,
    ignore_packet,
    is_chain,
    open_media,
    part_shifts,
    pixel_aspect,
    probe_video,
    read_packets,
    seek_and_decode,
    select_audio_stream,
)
from wav2lip.media.display import FrameRenderer, deinterlace
from wav2lip.media.images import is_animation, read_animation
from wav2lip.types import OnProblem, PathType

log = logging.getLogger(__name__)

PREROLL_S = 2.0  # decoded before the first frame after a seek; more than the frames that codecs reorder


def read_frames(
    path: PathType,
    fps: Fraction | float | None = None,
    on_problem: OnProblem = log.warning,
    first: int = 0,
    last: int | None = None,
    max_pixels: int | None = None,
    on_packet: OnPacket = ignore_packet,
) -> Iterator[np.ndarray]:
    """Decode a video as a player shows it, see `wav2lip.media.display`, one frame in memory at a time.

    fps: None for the frames as they are, or a rate to resample to: output n is the frame nearest in time to n / fps
        after the first one, which is right for variable frame rates too.
    on_problem: called with a message where the file is corrupt; decoding continues after the corrupt part.
    first, last: yield only the outputs from `first` up to but not including `last`; requires fps. The frames are the
        same as without, but the reader seeks; so the file must not have timestamp jumps, see `has_timestamp_jumps`.
    max_pixels: for untrusted files: larger frames are skipped, and those more than twice as large are not even
        decoded. A file may change its frame size at any point.
    on_packet: see `decode_frames`.
    Yields: (H, W, 3) uint8 RGB, all of the first frame's size.
    Raises: InputError if the file cannot be opened or has no video.
    """
    if fps is None:
        if first or last is not None:
            raise ValueError("first and last require fps")
        return (image for _, _, image in _decode(path, on_problem, 0.0, max_pixels, on_packet))
    rate = Fraction(fps).limit_denominator(1_000_000)
    frames = _decode(path, on_problem, float(first / rate), max_pixels, on_packet)
    return islice(_resample(frames, rate, first), last and max(0, last - first))


def batch_frames(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Yield lists of `size` frames, the last one shorter; each is cleared before the next is filled."""
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch.clear()  # otherwise two batches would be in memory
    if batch:
        yield batch


def _decode(
    path: PathType, on_problem: OnProblem, begin: float, max_pixels: int | None, on_packet: OnPacket
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield (seconds since the first frame, duration in seconds, image), from some frame before `begin` on."""
    if is_animation(path):
        return read_animation(path, on_problem, max_pixels)
    return _decode_video(path, on_problem, begin, max_pixels, on_packet)


def _decode_video(
    path: PathType, on_problem: OnProblem, begin: float, max_pixels: int | None, on_packet: OnPacket
) -> Iterator[tuple[float, float, np.ndarray]]:
    default_duration = 1 / float(probe_video(path).mean_fps)
    with open_media(path) as container:
        stream = find_video_stream(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        if max_pixels is not None:
            # FFmpeg checks before it allocates a frame, and includes padding of up to 64 pixels on each side.
            stream.codec_context.options = {"max_pixels": str(2 * max_pixels)}
        timed = container.format.name not in UNTIMED_FORMATS
        renderer = FrameRenderer(container.name, pixel_aspect(container, stream), on_problem)
        frames = _limit_size(decode_frames(container, stream, on_problem, on_packet), max_pixels)
        start = next(frames, None) if begin > PREROLL_S and timed else None
        first = None if start is None else start.time
        if start is not None and first is not None:
            renderer.set_size(start)
            frames = seek_and_decode(container, stream, first + begin - PREROLL_S, on_problem, on_packet)
            frames = _limit_size(frames, max_pixels)
        last: float | None = None  # seconds since the first frame
        skipped = 0
        timestamps = TimestampRepair(container.name, stream.type, on_problem, partial(part_shifts, path))
        for frame in deinterlace(frames, container.name, on_problem):
            time = 0.0 if last is None else last + default_duration
            if timed and frame.time is not None:
                first = frame.time if first is None else first
                stated = frame.time - first
                time = stated if last is None else timestamps.repair(stated, last, last + default_duration)
            if last is not None and time <= last:
                skipped += 1  # a player would never show it
                continue
            last = time
            duration = default_duration
            if frame.duration and frame.time_base:
                duration = float(frame.duration * frame.time_base)
            yield time, duration, renderer.render(frame)
        timestamps.report()
        if skipped:
            on_problem(f"{container.name}: skipped {skipped} video frames with decreasing timestamps")


def _limit_size(frames: Iterator[av.VideoFrame], max_pixels: int | None) -> Iterator[av.VideoFrame]:
    return (frame for frame in frames if max_pixels is None or frame.width * frame.height <= max_pixels)


def _resample(frames: Iterator[tuple[float, float, np.ndarray]], fps: Fraction, n: int) -> Iterator[np.ndarray]:
    """Yield the image at each tick, from tick n on."""
    previous, end = None, 0.0
    for time, duration, image in frames:
        # Ticks nearer to the previous frame than to this one.
        while previous is not None and n / fps <= (previous[0] + time) / 2:
            yield previous[1]
            n += 1
        previous, end = (time, image), time + duration
    while previous is not None and n / fps < end - 1e-6:
        yield previous[1]
        n += 1


def has_timestamp_jumps(path: PathType) -> bool:
    """Return True if the timestamps of a file restart or jump, or if it has none, so that seeking is unreliable."""
    if is_animation(path):
        return True
    with open_media(path) as container:
        if container.format.name in UNTIMED_FORMATS or is_chain(container):
            return True
        restarts: dict[int, RestartDetector] = {}
        streams = filter(None, (find_video_stream(container), select_audio_stream(container, path)))
        last: dict[int, float] = {}
        for packet in read_packets(container, *streams):
            if packet.dts is None or packet.time_base is None:
                continue
            time = float(packet.dts * packet.time_base)
            index = packet.stream.index
            if restarts.setdefault(index, RestartDetector()).is_restart(time):
                return True
            if time - last.get(index, time) > MAX_GAP_S:
                return True
            last[index] = time
    return False


def first_frame_time(path: PathType) -> float:
    """Return the time of the first video frame in the container in seconds, from which its audio must start too."""
    if is_animation(path):
        return 0.0
    probe_video(path)
    with open_media(path) as container:
        stream = find_video_stream(container)
        assert stream is not None
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
        for frame in decode_frames(container, stream, log.warning):
            return frame.time or 0.0 if container.format.name not in UNTIMED_FORMATS else begin
    raise InputError(f"{path}: no video frame can be decoded; re-encode or remove it")
