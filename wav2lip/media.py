"""Video and sound in, as streams with true timestamps; never a whole video in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
import soxr

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

PathType = str | PathLike[str]
OnProblem = Callable[[str], object]

UNTIMED = {"avi", "h264", "hevc", "m4v", "mjpeg"}  # formats that hold frames in a row, with no time of their own
FASTEST = 60  # frames a second; a nominal rate above this is a timebase, not a camera's
GAP = 0.04  # seconds, one frame: sound that is missing for longer is replaced by silence
LONGEST_GAP = 3600.0  # seconds; a timestamp further ahead is damaged
LONGEST_OVERLAP = 1.0  # seconds; sound whose time is further back begins anew and follows on


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
    codec: str


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
    with _open(path) as container:
        pictures, sound = _pictures(container), _sound(container)
        return Media(
            path=Path(path),
            seconds=max(0.0, (container.duration or 0) / av.time_base),
            video=None if pictures is None else _video_stream(pictures),
            audio=None if sound is None else _audio_stream(sound),
        )


def _pictures(container: av.container.InputContainer) -> av.VideoStream | None:
    """The first video that can be decoded; the cover of a song is none."""
    for stream in container.streams.video:
        cover = stream.disposition & av.stream.Disposition.attached_pic
        if stream.codec_context is not None and stream.width and not cover:
            return stream
    return None


def _sound(container: av.container.InputContainer) -> av.AudioStream | None:
    """The first sound, if it can be decoded: the one that FFmpeg would put into a result."""
    stream = next(iter(container.streams.audio), None)
    return stream if stream is not None and stream.codec_context is not None and stream.rate else None


def _video_stream(stream: av.VideoStream) -> VideoStream:
    mean = stream.average_rate or stream.guessed_rate or Fraction(25)
    nominal = stream.guessed_rate or mean
    return VideoStream(
        width=stream.width,
        height=stream.height,
        fps=nominal if mean <= nominal <= FASTEST else mean,
        mean_fps=mean,
        codec=stream.codec_context.name,
    )


def _audio_stream(stream: av.AudioStream) -> AudioStream:
    return AudioStream(rate=stream.rate, channels=stream.channels, codec=stream.codec_context.name)


def _open(path: PathType) -> av.container.InputContainer:
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
        why = _reason(error)
        raise InputError(f"{path}: is not audio or video, or is damaged ({why}); play it to check") from error
    if _pictures(container) is None and _sound(container) is None:
        container.close()
        raise InputError(f"{path}: is not audio or video: no track can be decoded; give a video, picture or audio file")
    return container


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def read_frames(
    path: PathType, fps: Fraction | float | None = None, on_problem: OnProblem = log.warning
) -> Iterator[np.ndarray]:
    """Decode a video, one frame in memory at a time, upright.

    fps: None for the frames as they are; a rate to resample to by timestamps: output n is the frame nearest in time
        to n / fps after the first one, so that a variable frame rate comes out right.
    on_problem: called with a sentence where the file is damaged; decoding goes on with what is whole.
    Yields: (H, W, 3) uint8 RGB, all of the first frame's size.
    Raises: InputError if the file cannot be opened or has no video.
    """
    frames = _decode(path, on_problem)
    if fps is None:
        return (picture for _, _, picture in frames)
    return _at_rate(frames, Fraction(fps).limit_denominator(1_000_000))


def _decode(path: PathType, on_problem: OnProblem) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield (seconds since the first frame, seconds it lasts, picture)."""
    probe(path).require_video()
    with _open(path) as container:
        stream = _pictures(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        usual = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        timed = container.format.name not in UNTIMED
        size: dict[str, int] = {}
        first = last = None
        for frame in _decoded(container, stream, on_problem):
            size = size or {"width": frame.width, "height": frame.height}
            time = frame.time
            if time is None or not timed:
                time = 0.0 if last is None else last + usual
            first = time if first is None else first
            if last is not None and time <= last:
                continue  # a timestamp that goes back: the frame was never on screen
            last = time
            lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
            yield time - first, lasts, _upright(frame.to_ndarray(format="rgb24", **size), frame.rotation)


def _decoded(container: av.container.InputContainer, stream: av.stream.Stream, on_problem: OnProblem) -> Iterator:
    """Decode a stream past damaged packets."""
    path, packets, damaged = container.name, container.demux(stream), 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            on_problem(f"{path}: breaks off ({_reason(error)}); what was read up to there is used")
            break
        try:
            yield from packet.decode()
        except av.FFmpegError:
            damaged += 1
    if damaged:
        on_problem(f"{path}: {damaged} damaged packets of {stream.type} were left out")


def _upright(picture: np.ndarray, degrees: int) -> np.ndarray:
    """Undo the rotation that a phone noted instead of turning the pixels; degrees counter-clockwise."""
    quarter_turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def _at_rate(frames: Iterator[tuple[float, float, np.ndarray]], fps: Fraction) -> Iterator[np.ndarray]:
    n, shown, end = 0, None, 0.0
    for time, lasts, picture in frames:
        # Ticks nearer to the frame before than to this one still show the one before.
        while shown is not None and n / fps <= (shown[0] + time) / 2:
            yield shown[1]
            n += 1
        shown, end = (time, picture), time + lasts
    while shown is not None and n / fps < end - 1e-6:
        yield shown[1]
        n += 1


def read_audio(
    path: PathType, rate: int, start: float | None = None, on_problem: OnProblem = log.warning
) -> Iterator[np.ndarray]:
    """Decode sound in blocks.

    rate: Hz to resample to.
    start: time in the container, in seconds, at which the first sample is to be; sound before it is dropped, and
        silence is put in where the track begins later or has a gap. None: the beginning of the container.
    Yields: (n,) float32 in [-1, 1], the mean over channels.
    Raises: InputError if the file cannot be opened or has no sound.
    """
    probe(path).require_audio()
    with _open(path) as container:
        stream = _sound(container)
        assert stream is not None
        begin = (container.start_time or 0) / av.time_base if start is None else start
        blocks = _from_time(_decoded(container, stream, on_problem), begin)
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


def _from_time(frames: Iterator, begin: float) -> Iterator[np.ndarray]:
    """Mono blocks of decoded audio frames, so that the first sample is at `begin` and each at the time of its frame."""
    due, begun = 0, False  # the sample, counted from begin, that comes next; whether one was given
    for frame in frames:
        mono, rate = _mono(frame), frame.sample_rate
        jump = 0 if frame.time is None else round((frame.time - begin) * rate) - due  # samples
        if not _is_a_jump(jump / rate, begun):
            jump = 0
        yield from _silence(jump, rate)
        kept = mono[max(0, -jump) :]
        if len(kept):
            begun = True
            yield kept
        due += max(0, jump) + len(kept)


def _is_a_jump(seconds: float, begun: bool) -> bool:
    """Whether sound is moved to the time of its frame: always at the beginning, later if it is off by over a GAP."""
    if not begun:
        return seconds <= LONGEST_GAP
    return -LONGEST_OVERLAP <= seconds < -GAP or GAP < seconds <= LONGEST_GAP


def _silence(samples: int, block: int) -> Iterator[np.ndarray]:
    return (np.zeros(min(block, samples - start), np.float32) for start in range(0, samples, block))


def _mono(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / 2.0 ** (8 * samples.dtype.itemsize - 1)
    return np.ascontiguousarray(samples.mean(axis=0, dtype=np.float32))


def first_frame_time(path: PathType) -> float:
    """Time in the container, in seconds, of the first frame of the video: where its sound has to begin too."""
    probe(path).require_video()
    with _open(path) as container:
        stream = _pictures(container)
        assert stream is not None
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
        for frame in _decoded(container, stream, log.warning):
            return frame.time or 0.0 if container.format.name not in UNTIMED else begin
    raise InputError(f"{path}: no frame of its video can be decoded; re-encode it or leave it out")
