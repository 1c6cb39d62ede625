"""Video and sound in, as streams with true timestamps; never a whole video in memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
import soxr
from av.video.reformatter import Colorspace

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

PathType = str | PathLike[str]
OnProblem = Callable[[str], object]

UNTIMED = {"avi", "h264", "hevc", "m4v", "mjpeg"}  # formats that hold frames in a row, with no time of their own
FASTEST = 60  # frames a second; a nominal rate above this is a timebase, not a camera's
USUAL = Fraction(25)  # frames a second of a video that does not say
COUNTED = 5.0  # seconds at the beginning in which frames are counted where a file states no rate
GAP = 0.04  # seconds, one frame: sound that is missing for longer is replaced by silence
LONGEST_GAP = 3600.0  # seconds; pictures or sound whose time is further ahead follow on at once
LONGEST_OVERLAP = 1.0  # seconds; pictures or sound whose time is further back begin anew and follow on at once
UNTAGGED = 2  # FFmpeg's colour space of a frame that states none


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
            video=None if pictures is None else _video_stream(container, pictures),
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
    usual = 1 / float(probe(path).require_video().mean_fps)
    with _open(path) as container:
        stream = _pictures(container)
        assert stream is not None
        stream.thread_type = "AUTO"
        timed = container.format.name not in UNTIMED
        size: tuple[int, int] | None = None
        first: float | None = None
        last = -usual  # seconds since the first frame
        left_out = 0
        join = Join(container.name, stream.type, on_problem)
        for frame in _decoded(container, stream, on_problem):
            size = size or (frame.width, frame.height)
            time = last + usual
            if timed and frame.time is not None:
                first = frame.time if first is None else first
                time = join.place(frame.time - first, last, last + usual)
            if time <= last:
                left_out += 1  # its time goes back: it was never on screen
                continue
            last = time
            lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
            yield time, lasts, _upright(_rgb(frame, *size), frame.rotation)
        join.report()
        if left_out:
            on_problem(f"{container.name}: {left_out} frames of video whose times go back were left out")


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


def _rgb(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    if frame.colorspace == UNTAGGED and not frame.format.is_rgb and is_hd(frame.width, frame.height):
        frame.colorspace = Colorspace.ITU709
    # Named, or PyAV before 17 does not look at the frame's own.
    return frame.to_ndarray(format="rgb24", dst_colorspace=Colorspace.ITU601, width=width, height=height)


def is_hd(width: int, height: int) -> bool:
    """Whether players take the colours of an untagged video for BT.709; those of smaller ones are BT.601."""
    return width >= 1280 or height > 576


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
        join = Join(container.name, stream.type, on_problem)
        blocks = _from_time(_decoded(container, stream, on_problem), begin, join)
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
