"""Validate uploaded media by decoding them; file name and content type are ignored.

inspection.py runs this module as a child process.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import av

from wav2lip.errors import InputError
from wav2lip.media import image_size, is_image, probe, read_audio, read_frames, read_image
from wav2lip.media.container import find_video_stream, further_links, open_media, read_packets

# FFmpeg demuxers of self-contained files. Playlists (HLS, DASH, concat) are excluded, as they refer to other files.
CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "apng", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "gif", "h264", "hevc",
    "m4v", "matroska", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf", "ogg", "w64", "wav", "webp_pipe",
)  # fmt: skip
SAMPLE_RATE = 16_000  # Hz, at which the duration of audio is measured
MAX_PACKETS_PER_SECOND = 120  # average over a video


@dataclass(frozen=True)
class MediaLimits:
    """Limits on the content of a file."""

    seconds: float
    pixels: int  # width times height of a frame


@dataclass(frozen=True)
class MediaInfo:
    """Content of a valid file."""

    width: int | None  # pixels; None: neither image nor video
    height: int | None
    still: bool  # an image
    seconds: float | None  # duration of the audio; None: no audio
    video_seconds: float | None = None  # duration of the frames; None: no video


def inspect_upload(path: Path, name: str, limits: MediaLimits) -> MediaInfo:
    """Check a file by decoding the whole image or audio, or the first frame of a video.

    name: the client's name of the file, for error messages.
    Raises: InputError if it is no image, video or audio file, or exceeds the limits.
    """
    try:
        return _inspect_image(path, name, limits) if is_image(path) else _inspect_media(path, name, limits)
    except InputError as error:  # messages of the readers contain the path on the server
        raise InputError(str(error).replace(str(path), name)) from error


def _inspect_image(path: Path, name: str, limits: MediaLimits) -> MediaInfo:
    width, height = image_size(path)
    _check_pixels(width, height, name, limits)
    height, width = read_image(path).shape[:2]  # after the EXIF rotation
    return MediaInfo(width, height, still=True, seconds=None)


def _inspect_media(path: Path, name: str, limits: MediaLimits) -> MediaInfo:
    _check_container(path, name)
    media = probe(path)
    if media.seconds > limits.seconds:
        raise _too_long(name, limits)
    width = height = video_seconds = None
    if media.video is not None:
        width, height = media.video.width, media.video.height
        _check_pixels(width, height, name, limits)
        video_seconds = _measure_video(path, name, limits)
        with closing(read_frames(path, on_problem=_ignore, max_pixels=limits.pixels)) as frames:  # type: ignore[type-var]
            if next(frames, None) is None:
                raise InputError(f"{name}: no frame of the video can be decoded; re-encode it")
    seconds = None if media.audio is None else _measure_audio(path, name, limits)
    return MediaInfo(width, height, still=False, seconds=seconds, video_seconds=video_seconds)


def _check_container(path: Path, name: str) -> None:
    """Reject containers that are not in CONTAINERS, without opening files that they refer to."""
    try:
        options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
        av.open(str(path.resolve()), options=options, metadata_errors="ignore").close()
    except (OSError, av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{name}: is not a supported image, video or audio file, or is corrupt; save it as MP4, WAV, PNG or JPEG"
        ) from error


def _check_pixels(width: int, height: int, name: str, limits: MediaLimits) -> None:
    if width * height > limits.pixels:
        raise InputError(f"{name}: {width} x {height} pixels exceed the limit of {limits.pixels}; scale it down")


def _measure_video(path: Path, name: str, limits: MediaLimits) -> float:
    """Return the time in seconds from the first to the last packet, since container headers may be wrong."""
    seconds, count = 0.0, 0
    with open_media(path) as container:
        for link in chain([container], further_links(container, _ignore)):
            stream = find_video_stream(link)
            if stream is None:
                continue
            first, last = math.inf, -math.inf
            for packet in read_packets(link, stream):
                count += 1
                if packet.pts is not None and packet.time_base is not None:
                    time = float(packet.pts * packet.time_base)
                    first, last = min(first, time), max(last, time)
                if count > limits.seconds * MAX_PACKETS_PER_SECOND or seconds + last - first > limits.seconds:
                    raise _too_long(name, limits)
            seconds += max(0.0, last - first)
    return seconds


def _measure_audio(path: Path, name: str, limits: MediaLimits) -> float:
    """Return the duration in seconds of the audio that can be decoded."""
    samples = 0
    with closing(read_audio(path, SAMPLE_RATE, on_problem=_ignore)) as blocks:
        for block in blocks:
            samples += len(block)
            if samples > limits.seconds * SAMPLE_RATE:
                raise _too_long(name, limits)
    return samples / SAMPLE_RATE


def _too_long(name: str, limits: MediaLimits) -> InputError:
    return InputError(f"{name}: is longer than {limits.seconds:g} s; cut it")


def _ignore(_problem: str) -> None:
    """Ignore decoding problems here; the job logs them."""


def main() -> None:
    """Print the properties of a file, or the error, as JSON; the argument is JSON too: path, name and limits."""
    path, name, limits = json.loads(sys.argv[1])
    try:
        answer = asdict(inspect_upload(Path(path), name, MediaLimits(**limits)))
    except InputError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
