"""Frames of a video, as a stream with true timestamps; never a whole video in memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import av
import numpy as np
from av.video.reformatter import Colorspace

from wav2lip.errors import InputError
from wav2lip.media.container import (
    LONGEST_GAP,
    LONGEST_OVERLAP,
    UNTIMED,
    Join,
    OnProblem,
    PathType,
    decoded,
    landed,
    open_media,
    pictures_of,
    probe,
    sound_of,
)

log = logging.getLogger(__name__)

RUN_UP = 2.0  # seconds decoded before the first frame that is asked for; more than a few frames out of order
UNTAGGED = 2  # FFmpeg's colour space of a frame that states none


def read_frames(
    path: PathType,
    fps: Fraction | float | None = None,
    on_problem: OnProblem = log.warning,
    first: int = 0,
    last: int | None = None,
    most_pixels: int | None = None,
) -> Iterator[np.ndarray]:
    """Decode a video, one frame in memory at a time, upright.

    fps: None for the frames as they are; a rate to resample to by timestamps: output n is the frame nearest in time
        to n / fps after the first one, so that a variable frame rate comes out right.
    on_problem: called with a sentence where the file is damaged; decoding goes on with what is whole.
    first, last: only the outputs from `first` up to but not including `last`; needs fps. They are the same pictures
        as without, but what is before them is jumped over; so the file's times must not leap, see `times_leap`.
    most_pixels: of a frame, in a file that is not trusted: larger ones are left out, and those of twice as many are
        not even decoded. A file may state one size and change to any other in the middle.
    Yields: (H, W, 3) uint8 RGB, all of the first frame's size.
    Raises: InputError if the file cannot be opened or has no video.
    """
    if fps is None:
        if first or last is not None:
            raise ValueError("a range of frames needs a rate that numbers them")
        return (picture for _, _, picture in _decode(path, on_problem, most_pixels=most_pixels))
    rate = Fraction(fps).limit_denominator(1_000_000)
    frames = _decode(path, on_problem, float(first / rate), most_pixels)
    return islice(_at_rate(frames, rate, first), last and max(0, last - first))


def _decode(
    path: PathType, on_problem: OnProblem, begin: float = 0.0, most_pixels: int | None = None
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield (seconds since the first frame, seconds it lasts, picture), from some frame before `begin` on."""
    usual = 1 / float(probe(path).require_video().mean_fps)
    with open_media(path) as container:
        stream = pictures_of(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        if most_pixels is not None:
            # FFmpeg asks before a frame is made, and counts its edges: up to 64 pixels more on each side.
            stream.codec_context.options = {"max_pixels": str(2 * most_pixels)}
        timed = container.format.name not in UNTIMED
        size: tuple[int, int] | None = None
        first: float | None = None
        frames = _of_size(decoded(container, stream, on_problem), most_pixels)
        if begin > RUN_UP and timed:
            start = next(frames, None)
            if start is not None and start.time is not None:
                first, size = start.time, (start.width, start.height)
                frames = _of_size(landed(container, stream, first + begin - RUN_UP, on_problem), most_pixels)
        last: float | None = None  # seconds since the first frame
        left_out = 0
        join = Join(container.name, stream.type, on_problem)
        for frame in frames:
            size = size or (frame.width, frame.height)
            time = 0.0 if last is None else last + usual
            if timed and frame.time is not None:
                first = frame.time if first is None else first
                stated = frame.time - first
                time = stated if last is None else join.place(stated, last, last + usual)
            if last is not None and time <= last:
                left_out += 1  # its time goes back: it was never on screen
                continue
            last = time
            lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
            yield time, lasts, _upright(_rgb(frame, *size), frame.rotation)
        join.report()
        if left_out:
            on_problem(f"{container.name}: {left_out} frames of video whose times go back were left out")


def _of_size(frames: Iterator[av.VideoFrame], most_pixels: int | None) -> Iterator[av.VideoFrame]:
    return (frame for frame in frames if most_pixels is None or frame.width * frame.height <= most_pixels)


def _rgb(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    if frame.colorspace == UNTAGGED and not frame.format.is_rgb and is_hd(frame.width, frame.height):
        frame.colorspace = Colorspace.ITU709
    # Named, or PyAV before 17 does not look at the frame's own.
    return frame.to_ndarray(format="rgb24", dst_colorspace=Colorspace.ITU601, width=width, height=height)


def is_hd(width: int, height: int) -> bool:
    """Whether players take the colours of an untagged video for BT.709; those of smaller ones are BT.601."""
    return width >= 1280 or height > 576


def _upright(picture: np.ndarray, degrees: int) -> np.ndarray:
    """Undo the rotation that a phone noted instead of turning the pixels; degrees counter-clockwise."""
    quarter_turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def _at_rate(frames: Iterator[tuple[float, float, np.ndarray]], fps: Fraction, n: int) -> Iterator[np.ndarray]:
    """The picture at each tick, from tick n on."""
    shown, end = None, 0.0
    for time, lasts, picture in frames:
        # Ticks nearer to the frame before than to this one still show the one before.
        while shown is not None and n / fps <= (shown[0] + time) / 2:
            yield shown[1]
            n += 1
        shown, end = (time, picture), time + lasts
    while shown is not None and n / fps < end - 1e-6:
        yield shown[1]
        n += 1


def times_leap(path: PathType) -> bool:
    """Whether the times of a file's packets begin anew or leap, so that no place in it can be jumped to by its time."""
    with open_media(path) as container:
        if container.format.name in UNTIMED:
            return True
        last: dict[int, float] = {}
        with contextlib.suppress(av.FFmpegError):  # damaged: nothing after that is read either
            for packet in container.demux(*filter(None, (pictures_of(container), sound_of(container)))):
                if packet.dts is None or packet.time_base is None:
                    continue
                time = float(packet.dts * packet.time_base)
                before = last.get(packet.stream.index, time)
                if not -LONGEST_OVERLAP <= time - before <= LONGEST_GAP:
                    return True
                last[packet.stream.index] = time
    return False


def first_frame_time(path: PathType) -> float:
    """Time in the container, in seconds, of the first frame of the video: where its sound has to begin too."""
    probe(path).require_video()
    with open_media(path) as container:
        stream = pictures_of(container)
        assert stream is not None
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
        for frame in decoded(container, stream, log.warning):
            return frame.time or 0.0 if container.format.name not in UNTIMED else begin
    raise InputError(f"{path}: no frame of its video can be decoded; re-encode it or leave it out")
