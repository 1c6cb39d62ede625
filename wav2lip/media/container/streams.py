"""Streams of a media file: their properties, and those that a player plays."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
from av.stream import Disposition

from wav2lip.errors import InputError
from wav2lip.types import PathType

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 768_000  # Hz; others are damage or an attack on the memory of the resampler


@dataclass(frozen=True)
class VideoStream:
    """Properties of a video stream, from the container's headers."""

    width: int  # pixels as shown, before rotation
    height: int
    fps: Fraction  # constant rate at which no frame is lost: the nominal one, or the mean if that is only a timebase
    mean_fps: Fraction  # frames over duration; differs from fps at a variable rate
    codec: str


@dataclass(frozen=True)
class AudioStream:
    """Properties of an audio stream, from the container's headers."""

    rate: int  # Hz
    channels: int
    codec: str  # canonical name, whatever the decoder: mp3, not mp3float
    index: int = 0  # index of the stream in the container
    track: int = 1  # number among the audio tracks, from 1
    tracks: int = 1  # number of audio tracks


@dataclass(frozen=True)
class Media:
    """Streams of a media file."""

    path: Path
    seconds: float  # duration stated by the container, or else read from its packets; 0 if it has no timestamps
    video: VideoStream | None
    audio: AudioStream | None

    def require_video(self) -> VideoStream:
        """Return the video stream; InputError if there is none."""
        if self.video is None:
            raise InputError(f"{self.path}: no video track that can be decoded; give a video or an image")
        return self.video

    def require_audio(self) -> AudioStream:
        """Return the audio stream; InputError if there is none, or its sample rate is no audio's."""
        if self.audio is None:
            raise InputError(f"{self.path}: no audio track that can be decoded; give a file with audio")
        check_sample_rate(self.path, self.audio.rate)
        return self.audio


def check_sample_rate(path: PathType, rate: int) -> None:
    """Raise InputError for a sample rate in Hz that audio cannot have."""
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise InputError(
            f"{path}: sample rate of {rate} Hz: must be between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz; export "
            "the audio again"
        )


@dataclass(frozen=True)
class AudioTrack(PathLike[str]):
    """One audio track of a file; usable as the path of the file, whose default track is used otherwise."""

    path: PathType
    number: int  # from 1

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__


def find_video_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the video stream that a player shows: the default or else first one that can be decoded.

    A cover image is not a video.
    """
    streams = [
        stream for stream in container.streams.video
        if stream.codec_context is not None and stream.width and not stream.disposition & Disposition.attached_pic
    ]  # fmt: skip
    return min(streams, key=_is_not_default, default=None)


def find_audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """Return the audio stream that a player plays: the default or else first one that can be decoded."""
    return min(filter(_is_decodable, container.streams.audio), key=_is_not_default, default=None)


def select_audio_stream(container: av.container.InputContainer, path: PathType) -> av.AudioStream | None:
    """Return the stream of an AudioTrack, or else as `find_audio_stream`.

    Raises: InputError if the file does not have that track, or it cannot be decoded.
    """
    if not isinstance(path, AudioTrack):
        return find_audio_stream(container)
    streams = container.streams.audio
    if not 1 <= path.number <= len(streams):
        raise InputError(f"{path}: audio_track={path.number}: must be from 1 to {len(streams)}, its audio tracks")
    if not _is_decodable(streams[path.number - 1]):
        raise InputError(f"{path}: audio_track={path.number}: cannot be decoded; choose another track")
    return streams[path.number - 1]


def _is_decodable(stream: av.AudioStream) -> bool:
    return stream.codec_context is not None and bool(stream.rate)


def _is_not_default(stream: av.VideoStream | av.AudioStream) -> bool:
    return not stream.disposition & Disposition.default
