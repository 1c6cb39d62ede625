"""Frames of a time range of a video or image file, resized, rotated and cropped."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np

from wav2lip.errors import InputError
from wav2lip.faces.crops import resize
from wav2lip.hashing import hash_file
from wav2lip.media import has_timestamp_jumps, is_image, probe, read_audio, read_frames, read_image
from wav2lip.media.container import OnPacket, ignore_packet
from wav2lip.types import PathType

logger = logging.getLogger(__name__)

MIN_IMAGE_FPS, MAX_IMAGE_FPS = 0.1, 240.0  # limits of a requested frame rate
DEFAULT_FPS = 25.0  # frame rate of the result for an image
MIN_LIPS_FPS = 20  # lips of speech are not resolved below
MAX_SIDE_PIXELS, MAX_AREA_PIXELS = 4096, 4096 * 2304  # supported by every H.264 player: level 5.2
MISSING_TOLERANCE_S = 0.5  # a warning is logged if a file is shorter than stated by more than this


@dataclass(frozen=True)
class TimeRange:
    """Start and end in seconds after the first frame of a video."""

    start: float = 0.0
    end: float | None = None  # None: the end of the video

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise InputError(f"--start={self.start}: must be at least 0 seconds")
        if self.end is not None and not self.end > self.start:  # rejects NaN too
            raise InputError(f"--end={self.end:g}: must be after --start={self.start:g}")

    def frames(self, fps: Fraction) -> tuple[int, int | None]:
        """Return the indices of the first frame and of the one after the last, nearest in time; at least one frame."""
        first = _nearest_frame(self.start, fps)
        return first, None if self.end is None else max(first + 1, _nearest_frame(self.end, fps))


FULL_RANGE = TimeRange()


@dataclass(frozen=True)
class Framing:
    """Transformation of every frame: resize, rotate, crop, in this order."""

    resize_factor: int = 1  # divisor of width and height
    rotate: bool = False  # 90 degrees clockwise
    crop: tuple[int, int, int, int] = (0, -1, 0, -1)  # top, bottom, left, right in pixels; -1: to the edge

    def __post_init__(self) -> None:
        if self.resize_factor < 1:
            raise InputError(f"--resize_factor={self.resize_factor}: must be at least 1")

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Transform a frame (H, W, 3)."""
        if self.resize_factor > 1:
            height, width = (size // self.resize_factor for size in frame.shape[:2])
            if not min(height, width):
                raise InputError(
                    f"--resize_factor={self.resize_factor}: must be at most {min(frame.shape[:2])} for a frame of "
                    f"{frame.shape[1]} x {frame.shape[0]} pixels"
                )
            frame = resize(frame, width, height)
        if self.rotate:
            frame = np.rot90(frame, -1)
        top, bottom, left, right = self.crop
        bottom = frame.shape[0] if bottom == -1 else bottom
        right = frame.shape[1] if right == -1 else right
        cropped = frame[top:bottom, left:right]
        if min(top, left) < 0 or not cropped.size:
            raise InputError(
                f"--crop={' '.join(map(str, self.crop))}: must be TOP BOTTOM LEFT RIGHT inside the frame of "
                f"{frame.shape[1]} x {frame.shape[0]} pixels"
            )
        return np.ascontiguousarray(cropped)


NO_FRAMING = Framing()


class FileSource:
    """Frames of a file, decoded again in each pass and never stored."""

    def __init__(
        self,
        path: PathType,
        *,
        fps: float | None = None,
        static: bool = False,
        framing: Framing = NO_FRAMING,
        time_range: TimeRange = FULL_RANGE,
        compat: str = "none",
        max_pixels: int | None = None,
        on_packet: OnPacket = ignore_packet,
    ):
        """path: video or image. fps: frame rate of the result; None: that of the video, 25 for an image.
        static: use the first frame only.
        time_range: used part of a video.
        compat: "public" reads a video's frames at their mean rate, ignoring timestamps, and does not transform an
        image.
        max_pixels: larger frames of a video are skipped, see `read_frames`.
        on_packet: see `wav2lip.media.container.decode_frames`.
        Raises: InputError if the file cannot be used.
        """
        self.path = Path(path)
        self.is_downscaled = False  # an image larger than players support
        self._public = compat == "public"
        self._image: np.ndarray | None = None
        self._framing = framing
        self._max_pixels, self._on_packet = max_pixels, on_packet
        self._logged: set[str] = set()
        self._first = 0  # first used frame of the video
        self._last: int | None = None  # end of the used frames, exclusive
        if self.path.is_file() and is_image(path):
            self._open_image(DEFAULT_FPS if fps is None else fps, time_range)
        else:
            self._open_video(fps, time_range)
        self.static = static or self._image is not None
        self.is_static_video = static and self._image is None

    def _open_image(self, fps: float, time_range: TimeRange) -> None:
        if time_range != FULL_RANGE:
            raise InputError(f"{self.path}: is an image; remove --start and --end")
        image = read_image(self.path)
        self._image = image if self._public else self._downscale(self._framing.apply(image))
        self.fps = _check_fps(fps)

    def _open_video(self, fps: float | None, time_range: TimeRange) -> None:
        media = probe(self.path)
        video, self._seconds = media.require_video(), media.seconds
        self.fps = video.mean_fps if self._public else video.fps
        if fps is not None and self._public:
            self._warn(f"--fps={fps:g}: ignored for a video with --compat public, as by upstream")
        elif fps is not None:
            self.fps = _check_fps(fps)
        if self.fps < MIN_LIPS_FPS:
            self._warn(
                f"{self.path}: {float(self.fps):.4g} frames a second, but lips need some {MIN_LIPS_FPS}; add "
                f"--fps {DEFAULT_FPS:g}, which repeats frames and moves the lips in each"
            )
        self._first, self._last = time_range.frames(self.fps)
        self._time_range = time_range
        if time_range.end is not None and 0 < self._seconds < time_range.end - MISSING_TOLERANCE_S:
            self._warn(f"{self.path}: ends at {self._seconds:.2f} s, before --end; using the part before that")

    def _downscale(self, image: np.ndarray) -> np.ndarray:
        """Return the image (H, W, 3) at a size that players support."""
        height, width = image.shape[:2]
        scale = min(1.0, MAX_SIDE_PIXELS / max(height, width), (MAX_AREA_PIXELS / (height * width)) ** 0.5)
        if scale == 1:
            return image
        size = max(2, int(width * scale)), max(2, int(height * scale))
        self.is_downscaled = True
        self._warn(
            f"{self.path}: {width} x {height} pixels exceed the limit of H.264 players; downscaled to "
            f"{size[0]} x {size[1]}"
        )
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    @property
    def fingerprint(self) -> str:
        """Identifier that is equal for sources with equal frames."""
        settings = self._framing, str(self.fps), self.static, self._public, self._first, self._last, self._max_pixels
        return f"{hash_file(self.path)} {settings}"

    @property
    def stated_frames(self) -> int:
        """Number of frames that the file states; 0 if unknown, and for an image or a static source."""
        if self.static or not self._seconds:
            return 0
        stated = round(self._seconds * self.fps)
        return max(0, min(stated, stated if self._last is None else self._last) - self._first)

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield the frames from `first` up to but not including `last`, (H, W, 3) uint8 RGB; an image has one frame.

        Problems of the file are logged once.
        Raises: InputError if there is no frame.
        """
        if self._image is not None:
            yield self._image
            return
        begin, end = self._first + first, self._last
        if self.static:
            last = 1
        if last is not None:
            end = self._first + last if end is None else min(end, self._first + last)
        count = 0
        for frame in _copy_repeated(self._decode(begin, end)):
            yield self._framing.apply(frame)
            count += 1
        if not count:
            raise self._no_frames_error()
        seconds = (begin + count) / float(self.fps)
        expected = self._seconds if end is None else min(self._seconds, end / float(self.fps))
        if not self.static and seconds < expected - MISSING_TOLERANCE_S:
            self._warn(f"{self.path}: its video lasts {seconds:.1f} s, not {self._seconds:.1f} s as it states")

    def read_audio(self, rate: int) -> Iterator[np.ndarray]:
        """Yield the audio of a video in blocks (n,) float32, mono at `rate` Hz, beginning with the first used frame.

        Raises: InputError for a file without audio.
        """
        skipped = round(self._first / self.fps * rate)
        for block in read_audio(self.path, rate, on_problem=self._warn, on_packet=self._on_packet):
            if skipped < len(block):
                yield block[skipped:]
            skipped = max(0, skipped - len(block))

    def _decode(self, begin: int, end: int | None) -> Iterator[np.ndarray]:
        """Decode frames `begin` up to but not including `end` of the video; seek only where that is reliable."""
        read = partial(read_frames, self.path, on_problem=self._warn, max_pixels=self._max_pixels,
                       on_packet=self._on_packet)  # fmt: skip
        if self._public:
            return itertools.islice(read(), begin, end)
        if not begin or self._has_timestamp_jumps:
            return itertools.islice(read(self.fps), begin, end)
        return read(self.fps, first=begin, last=end)

    @cached_property
    def _has_timestamp_jumps(self) -> bool:
        return has_timestamp_jumps(self.path)

    def _no_frames_error(self) -> InputError:
        if self._first:
            start = self._time_range.start
            return InputError(f"{self.path}: no frame at --start={start:g} or later; it lasts {self._seconds:.2f} s")
        return InputError(f"{self.path}: no frame of its video can be decoded; re-encode it")

    def _warn(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            logger.warning(message)


def _copy_repeated(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames that may be modified: a frame that is repeated is copied."""
    previous: np.ndarray | None = None
    for frame in frames:
        if previous is not None:
            yield previous.copy() if frame is previous else previous
        previous = frame
    if previous is not None:
        yield previous


def _check_fps(fps: float) -> Fraction:
    if not MIN_IMAGE_FPS <= fps <= MAX_IMAGE_FPS:  # rejects NaN too
        raise InputError(f"--fps={fps}: must be between {MIN_IMAGE_FPS} and {MAX_IMAGE_FPS}")
    return Fraction(fps).limit_denominator(1001)


def _nearest_frame(time: float, fps: Fraction) -> int:
    return round(Fraction(time).limit_denominator(1_000_000) * fps)
