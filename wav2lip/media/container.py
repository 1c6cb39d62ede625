"""Media containers: probing, robust decoding, seeking, and repair of timestamps."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from os import PathLike
from pathlib import Path

import av
from av.stream import Disposition

from wav2lip.errors import InputError
from wav2lip.media.display import display_size
from wav2lip.media.images import animation_timing, is_animation
from wav2lip.types import OnProblem, PathType

log = logging.getLogger(__name__)

OnPacket = Callable[[], object]
UNTIMED_FORMATS = {"avi", "h264", "hevc", "m4v", "mjpeg"}  # store frames without timestamps
MAX_FPS = 60  # a higher nominal rate is a timebase, not a camera's rate
MAX_MEAN_FPS = 1000  # of high-speed cameras; FFmpeg states 60000 for raw DV
DEFAULT_FPS = Fraction(25)  # assumed if a video states none
COUNTED_SECONDS = 5.0  # initial part in which frames are counted if a file states no rate
MAX_GAP_S = 3600.0  # a larger jump ahead of timestamps is an error, and frames are joined
MAX_OVERLAP_S = 1.0  # a larger jump back of timestamps is a restart, and frames are joined
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 768_000  # Hz; others are damage or an attack on the memory of the resampler
ESTIMATED_FORMATS = {"aac", "ac3", "eac3", "mp3"}  # state no length, or that of the first of several joined files
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore the transparency of WebM


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


def ignore_packet() -> None:
    """Decode on: the default of `on_packet`."""


@dataclass(frozen=True)
class AudioTrack(PathLike[str]):
    """One audio track of a file; usable as the path of the file, whose default track is used otherwise."""

    path: PathType
    number: int  # from 1

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__


def probe(path: PathType) -> Media:
    """Read the properties of a media file.

    Raises: InputError if the file is missing, empty, a folder, or neither audio nor video, or has no such AudioTrack.
    """
    if is_animation(path):
        return _probe_animation(path)
    with open_media(path) as container:
        video, audio = find_video_stream(container), select_audio_stream(container, path)
        return Media(
            path=Path(path),
            video=None if video is None else _video_properties(container, video),
            audio=None if audio is None else _audio_properties(container, audio),
            seconds=_read_seconds(container),
        )


def _probe_animation(path: PathType) -> Media:
    width, height, durations = animation_timing(path)
    mean = Fraction(len(durations) / sum(durations)).limit_denominator(60)  # durations are whole milliseconds
    is_constant = max(durations) - min(durations) < 0.0015
    fps = mean if is_constant else min(Fraction(MAX_FPS), Fraction(1 / min(durations)).limit_denominator(60))
    video = VideoStream(width, height, fps=max(fps, mean), mean_fps=mean, codec="animation")
    return Media(Path(path), sum(durations), video, audio=None)


def probe_video(path: PathType) -> VideoStream:
    """Read the properties of the video stream alone. Raises: InputError as `probe`, and if there is none."""
    with open_media(path) as container:
        stream = find_video_stream(container)
        video = None if stream is None else _video_properties(container, stream)
        return Media(Path(path), 0.0, video, None).require_video()


def probe_audio(path: PathType) -> AudioStream:
    """Read the properties of the audio stream alone. Raises: InputError as `probe`, and if there is none."""
    with open_media(path) as container:
        stream = select_audio_stream(container, path)
        audio = None if stream is None else _audio_properties(container, stream)
        return Media(Path(path), 0.0, None, audio).require_audio()


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


def _read_seconds(container: av.container.InputContainer) -> float:
    """Return the duration that the container states, unless it states none or one beyond the file's content."""
    # Matroska states the end of its timeline, which may begin late, as in recordings of a stream.
    offset = max(0, container.start_time or 0) if container.format.name.startswith("matroska") else 0
    stated = max(0.0, ((container.duration or 0) - offset) / av.time_base)
    audio = find_audio_stream(container)
    is_pcm = audio is not None and audio.codec_context.name.startswith("pcm_") and len(container.streams) == 1
    bit_rate = audio.codec_context.bit_rate if audio is not None and is_pcm else None
    is_too_long = bit_rate and stated > container.size * 8 / bit_rate
    if stated and not is_too_long and container.format.name not in ESTIMATED_FORMATS:
        return stated
    begin, end = math.inf, 0.0
    with contextlib.suppress(av.FFmpegError):  # corrupt: nothing after that is decoded either
        container.seek(0)
    for packet in read_packets(container, *filter(None, (find_video_stream(container), audio))):
        if packet.pts is not None and packet.time_base is not None:
            begin = min(begin, float(packet.pts * packet.time_base))
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return max(0.0, end - begin) if end else stated


def read_packets(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """Yield the packets of streams up to the end or a corrupt one, after which nothing is decoded either."""
    with contextlib.suppress(av.FFmpegError):
        yield from container.demux(*streams)


def _video_properties(container: av.container.InputContainer, stream: av.VideoStream) -> VideoStream:
    nominal = stream.guessed_rate
    mean = stream.average_rate
    if not mean or mean > MAX_MEAN_FPS:
        mean = nominal if nominal and nominal <= MAX_FPS else _count_fps(container, stream)
    width, height = display_size(stream.width, stream.height, pixel_aspect(container, stream))
    return VideoStream(
        width=width,
        height=height,
        fps=nominal if nominal and mean <= nominal <= MAX_FPS else mean,
        mean_fps=mean,
        codec=stream.codec_context.name,
    )


def pixel_aspect(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    """Return the width of a pixel over its height; None: unknown.

    AVI does not state that of DV, so it is read from the first frame; the container is at its beginning afterwards.
    """
    if stream.codec_context.name != "dvvideo":
        return stream.sample_aspect_ratio
    with contextlib.suppress(av.FFmpegError):
        next(container.decode(stream), None)
    container.seek(0)
    return stream.codec_context.sample_aspect_ratio


def _count_fps(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Compute the frame rate from the timestamps of the first packets."""
    times: list[Fraction] = []
    for packet in read_packets(container, stream):
        if packet.pts is None:
            continue
        time = packet.pts * packet.time_base
        if times and abs(time - times[0]) > COUNTED_SECONDS:
            break
        times.append(time)
    seconds = max(times) - min(times) if times else Fraction(0)
    return ((len(times) - 1) / seconds).limit_denominator(1001) if seconds else DEFAULT_FPS


def _audio_properties(container: av.container.InputContainer, stream: av.AudioStream) -> AudioStream:
    streams = container.streams.audio
    return AudioStream(
        rate=stream.rate,
        channels=stream.channels,
        codec=stream.codec_context.codec.canonical_name,
        index=stream.index,
        track=1 + [other.index for other in streams].index(stream.index),
        tracks=len(streams),
    )


def open_media(path: PathType) -> av.container.InputContainer:
    """Open a media file; InputError as in `probe`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; copy or download it again")
        # An absolute path cannot be parsed as a protocol.
        container = av.open(str(path.resolve()), metadata_errors="ignore")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; change its permissions") from error
    except (OSError, av.FFmpegError, ValueError) as error:
        cause = error_reason(error)
        raise InputError(f"{path}: not audio or video, or corrupt ({cause}); play it to check") from error
    if find_video_stream(container) is None and find_audio_stream(container) is None:
        container.close()
        raise InputError(f"{path}: not audio or video: no track can be decoded; give a video, image or audio file")
    return container


def container_format(path: PathType) -> str:
    """Return FFmpeg's name of a file's format; InputError as in `probe`."""
    with open_media(path) as container:
        return container.format.name.partition(",")[0]


def error_reason(error: Exception) -> str:
    """Return the error's message without its number and path."""
    return getattr(error, "strerror", None) or str(error)


def _packet_decoder(stream: av.stream.Stream) -> Callable[[av.Packet], list]:
    """Return the function that decodes a packet of a stream."""
    name = None if stream.codec_context is None else ALPHA_DECODERS.get(stream.codec_context.name)
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return lambda packet: packet.decode()
    decoder = av.CodecContext.create(name, "r")
    decoder.options = stream.codec_context.options
    return lambda packet: decoder.decode(packet if packet.size else None)  # type: ignore[attr-defined]


def decode_frames(
    container: av.container.InputContainer, stream: av.stream.Stream, on_problem: OnProblem,
    on_packet: OnPacket = ignore_packet,
) -> Iterator:  # fmt: skip
    """Decode a stream, skipping corrupt packets.

    on_packet: called before each packet is decoded, also where packets yield no frame; raises to stop.
    """
    path, packets, corrupt = container.name, container.demux(stream), 0
    decode = _packet_decoder(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            on_problem(f"{path}: truncated ({error_reason(error)}); using the part before")
            break
        on_packet()
        try:
            yield from decode(packet)
        except av.FFmpegError:
            corrupt += 1
    if corrupt:
        on_problem(f"{path}: skipped {corrupt} corrupt packets of {stream.type}")


def seek_and_decode(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, time: float,
    on_problem: OnProblem, on_packet: OnPacket = ignore_packet,
) -> Iterator:  # fmt: skip
    """Decode a stream from a frame at or before a time in seconds.

    If seeking fails, as in formats without an index, decode from the beginning.
    """
    assert stream.time_base is not None
    with contextlib.suppress(av.FFmpegError):
        container.seek(int(time / stream.time_base), stream=stream)
        frames = decode_frames(container, stream, on_problem, on_packet)
        start = next(frames, None)
        if start is not None and start.time is not None and start.time <= time:
            return chain([start], frames)
    container.seek(0)  # the beginning of the file, before its first timestamp
    return decode_frames(container, stream, on_problem, on_packet)


class TimestampRepair:
    """Make the timestamps of a stream continuous where they restart or jump, as in concatenated recordings."""

    def __init__(self, path: str, kind: str, on_problem: OnProblem):
        """kind: stream type, for the message."""
        self._path, self._kind, self._on_problem = path, kind, on_problem
        self._shift, self._jumps = 0.0, 0

    def repair(self, time: float, last: float, expected: float) -> float:
        """Return the continuous time of a timestamp, which is `expected` at a jump; all in seconds.

        last: the previous frame's continuous time.
        """
        if not -MAX_OVERLAP_S <= time + self._shift - last <= MAX_GAP_S:
            self._shift = expected - time
            self._jumps += 1
        return time + self._shift

    def report(self) -> None:
        """Report the number of jumps, if any."""
        if self._jumps:
            self._on_problem(
                f"{self._path}: {self._kind} timestamps restart or jump {self._jumps} times; joined without a pause"
            )
