"""What an uploaded file holds, found by opening it; its name is never asked."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av

from wav2lip.errors import InputError
from wav2lip.media import is_picture, picture_size, probe, read_audio, read_frames, read_picture

# Containers that hold their own content. Playlists (HLS, DASH, concat), which name other files, are not among them.
CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "apng", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "gif", "h264", "hevc",
    "m4v", "matroska", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf", "ogg", "w64", "wav", "webp_pipe",
)  # fmt: skip
SOUND_RATE = 16_000  # Hz, at which sound is counted
FASTEST = 120  # packets a second, on average, of a video that is taken


@dataclass(frozen=True)
class Limits:
    """What is too much."""

    seconds: float
    pixels: int  # of one frame


@dataclass(frozen=True)
class Contents:
    """What can be used of a file."""

    width: int | None  # pixels of its picture or video; None: it has none
    height: int | None
    still: bool
    seconds: float | None  # of its sound; None: it has none


def look_into(path: Path, called: str, limits: Limits) -> Contents:
    """Open a file and decode what says that it is whole enough to try.

    A picture and sound are decoded in full, of a video the first frame.
    called: what sentences call the file.
    Raises: InputError if it is not a picture, video or sound, or more than the limits.
    """
    try:
        return _picture(path, called, limits) if is_picture(path) else _media(path, called, limits)
    except InputError as error:  # the sentence names our file: say the client's name for it instead
        raise InputError(str(error).replace(str(path), called)) from error


def _picture(path: Path, called: str, limits: Limits) -> Contents:
    width, height = picture_size(path)
    _check_pixels(width, height, called, limits)
    height, width = read_picture(path).shape[:2]  # upright
    return Contents(width, height, still=True, seconds=None)


def _media(path: Path, called: str, limits: Limits) -> Contents:
    _check_container(path, called)
    media = probe(path)
    if media.seconds > limits.seconds:
        raise _too_long(called, limits)
    width = height = None
    if media.video is not None:
        width, height = media.video.width, media.video.height
        _check_pixels(width, height, called, limits)
        _check_length(path, called, limits)
        with closing(read_frames(path, on_problem=_unheard, most_pixels=limits.pixels)) as frames:  # type: ignore[type-var]
            if next(frames, None) is None:
                raise InputError(f"{called}: no frame of its video can be decoded; re-encode it")
    seconds = None if media.audio is None else _heard(path, called, limits)
    return Contents(width, height, still=False, seconds=seconds)


def _check_container(path: Path, called: str) -> None:
    """Raises: InputError unless it is one of CONTAINERS; nothing it may name is opened."""
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        av.open(str(path.resolve()), options=options, metadata_errors="ignore").close()
    except (OSError, av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{called}: is not a picture, video or sound that is taken, or is damaged; play it to check, or save it as "
            "MP4, WAV, PNG or JPEG"
        ) from error


def _check_pixels(width: int, height: int, called: str, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise InputError(f"{called}: {width} x {height} pixels are more than {limits.pixels} in all; make it smaller")


def _check_length(path: Path, called: str, limits: Limits) -> None:
    """By the packets themselves, whatever the container states."""
    with av.open(str(path.resolve()), metadata_errors="ignore") as container:
        first, last = math.inf, -math.inf
        for count, packet in enumerate(container.demux(container.streams.video[0])):
            if packet.pts is not None and packet.time_base is not None:
                time = float(packet.pts * packet.time_base)
                first, last = min(first, time), max(last, time)
            if count > limits.seconds * FASTEST or last - first > limits.seconds:
                raise _too_long(called, limits)


def _heard(path: Path, called: str, limits: Limits) -> float:
    """Seconds of sound that can be decoded."""
    samples = 0
    with closing(read_audio(path, SOUND_RATE, on_problem=_unheard)) as blocks:
        for block in blocks:
            samples += len(block)
            if samples > limits.seconds * SOUND_RATE:
                raise _too_long(called, limits)
    return samples / SOUND_RATE


def _too_long(called: str, limits: Limits) -> InputError:
    return InputError(f"{called}: is longer than {limits.seconds:g} s; cut it")


def _unheard(_sentence: str) -> None:
    """Damage is said when the job runs."""
