"""Properties of a media file, from its header where that can be trusted."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av

from wav2lip.media.container.decoding import read_packets
from wav2lip.media.container.duration import read_seconds
from wav2lip.media.container.opening import open_media
from wav2lip.media.container.streams import (
    AudioStream,
    Media,
    VideoStream,
    find_video_stream,
    select_audio_stream,
)
from wav2lip.media.display import display_size
from wav2lip.media.images import animation_timing, is_animation
from wav2lip.types import PathType

MAX_FPS = 60  # a higher nominal rate is a timebase, not a camera's rate
MAX_MEAN_FPS = 1000  # of high-speed cameras; FFmpeg states 60000 for raw DV
DEFAULT_FPS = Fraction(25)  # assumed if a video states none
COUNTED_SECONDS = 5.0  # initial part in which frames are counted if a file states no rate


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
            seconds=read_seconds(container),
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
