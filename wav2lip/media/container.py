"""What is in a media file, and its frames past what is damaged."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from os import PathLike
from pathlib import Path

import av

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

PathType = str | PathLike[str]
OnProblem = Callable[[str], object]
UNTIMED = {"avi", "h264", "hevc", "m4v", "mjpeg"}  # formats that hold frames in a row, with no time of their own
FASTEST = 60  # frames a second; a nominal rate above this is a timebase, not a camera's
USUAL = Fraction(25)  # frames a second of a video that does not say
COUNTED = 5.0  # seconds at the beginning in which frames are counted where a file states no rate
LONGEST_GAP = 3600.0  # seconds; pictures or sound whose time is further ahead follow on at once
LONGEST_OVERLAP = 1.0  # seconds; pictures or sound whose time is further back begin anew and follow on at once


@dataclass(frozen=True)
class VideoStream:
    """What a file says about its pictures, before any is decoded."""

    width: int  # pixels as coded, before rotation
    height: int
    fps: Fraction  # the constant rate that keeps every frame: the nominal one, or the mean of an odd timebase
    mean_fps: Fraction  # frames over duration; differs from fps where the rate varies
    codec: str


@dataclass(frozen=True)
class AudioStream:
    """What a file says about its sound."""

    rate: int  # Hz
    channels: int
    codec: str  # what it is, whatever decodes it: mp3, not mp3float


@dataclass(frozen=True)
class Media:
    """What is in a file."""

    path: Path
    seconds: float  # as the container states it, 0 if it does not
    video: VideoStream | None
    audio: AudioStream | None

    def require_video(self) -> VideoStream:
        """The video stream; InputError if there is none."""
        if self.video is None:
            raise InputError(f"{self.path}: has no video track that can be decoded; give a video or a picture")
        return self.video

    def require_audio(self) -> AudioStream:
        """The audio stream; InputError if there is none."""
        if self.audio is None:
            raise InputError(f"{self.path}: has no audio track that can be decoded; give a file with sound")
        return self.audio


def probe(path: PathType) -> Media:
    """Read a media file's description.

    Raises: InputError if there is no such file, or it is empty, a folder, or not audio or video.
    """
    with open_media(path) as container:
        pictures, sound = pictures_of(container), sound_of(container)
        return Media(
            path=Path(path),
            seconds=max(0.0, (container.duration or 0) / av.time_base),
            video=None if pictures is None else _video_stream(container, pictures),
            audio=None if sound is None else _audio_stream(sound),
        )


def pictures_of(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video that can be decoded; the cover of a song is none."""
    for stream in container.streams.video:
        cover = stream.disposition & av.stream.Disposition.attached_pic
        if stream.codec_context is not None and stream.width and not cover:
            return stream
    return None


def sound_of(container: av.container.InputContainer) -> av.AudioStream | None:
    """The first sound, if it can be decoded: the one that FFmpeg would put into a result."""
    stream = next(iter(container.streams.audio), None)
    return stream if stream is not None and stream.codec_context is not None and stream.rate else None


def _video_stream(container: av.container.InputContainer, stream: av.VideoStream) -> VideoStream:
    nominal = stream.guessed_rate
    mean = stream.average_rate or (nominal if nominal and nominal <= FASTEST else _counted_rate(container, stream))
    return VideoStream(
        width=stream.width,
        height=stream.height,
        fps=nominal if nominal and mean <= nominal <= FASTEST else mean,
        mean_fps=mean,
        codec=stream.codec_context.name,
    )


def _counted_rate(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Frames a second by the times of the first packets."""
    times: list[Fraction] = []
    with contextlib.suppress(av.FFmpegError):  # damaged: what was read up to there is counted
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            time = packet.pts * packet.time_base
            if times and abs(time - times[0]) > COUNTED:
                break
            times.append(time)
    seconds = max(times) - min(times) if times else Fraction(0)
    return ((len(times) - 1) / seconds).limit_denominator(1001) if seconds else USUAL


def _audio_stream(stream: av.AudioStream) -> AudioStream:
    return AudioStream(rate=stream.rate, channels=stream.channels, codec=stream.codec_context.codec.canonical_name)


def open_media(path: PathType) -> av.container.InputContainer:
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; copy or download it again")
        # Absolute, so that no file name can be read as a protocol.
        container = av.open(str(path.resolve()), metadata_errors="ignore")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read; change its permissions") from error
    except (OSError, av.FFmpegError, ValueError) as error:
        why = reason(error)
        raise InputError(f"{path}: is not audio or video, or is damaged ({why}); play it to check") from error
    if pictures_of(container) is None and sound_of(container) is None:
        container.close()
        raise InputError(f"{path}: is not audio or video: no track can be decoded; give a video, picture or audio file")
    return container


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def decoded(container: av.container.InputContainer, stream: av.stream.Stream, on_problem: OnProblem) -> Iterator:
    """Decode a stream past damaged packets."""
    path, packets, damaged = container.name, container.demux(stream), 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            on_problem(f"{path}: breaks off ({reason(error)}); what was read up to there is used")
            break
        try:
            yield from packet.decode()
        except av.FFmpegError:
            damaged += 1
    if damaged:
        on_problem(f"{path}: {damaged} damaged packets of {stream.type} were left out")


def landed(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, time: float, on_problem: OnProblem
) -> Iterator:
    """Decode a stream from some place at or before a time on, in seconds, without decoding all that is before it.

    Where that fails, as in formats without an index, from the beginning.
    """
    assert stream.time_base is not None
    with contextlib.suppress(av.FFmpegError):
        container.seek(int(time / stream.time_base), stream=stream)
        frames = decoded(container, stream, on_problem)
        start = next(frames, None)
        if start is not None and start.time is not None and start.time <= time:
            return chain([start], frames)
    container.seek(0)  # the beginning of the file, before the first of its times
    return decoded(container, stream, on_problem)


class Join:
    """Makes the times of one stream run on where they begin anew, as in recordings put together, or leap."""

    def __init__(self, path: str, kind: str, on_problem: OnProblem):
        """kind: what the stream holds, for the report."""
        self._path, self._kind, self._on_problem = path, kind, on_problem
        self._shift, self._joints = 0.0, 0

    def place(self, time: float, last: float, due: float) -> float:
        """When a time that the file states is: `due`, if it is at a joint from what was `last`. All in seconds."""
        if not -LONGEST_OVERLAP <= time + self._shift - last <= LONGEST_GAP:
            self._shift = due - time
            self._joints += 1
        return time + self._shift

    def report(self) -> None:
        """Say that there were joints."""
        if self._joints:
            self._on_problem(
                f"{self._path}: times of its {self._kind} begin anew or leap, {self._joints} in all; it goes on there "
                "without a pause"
            )
