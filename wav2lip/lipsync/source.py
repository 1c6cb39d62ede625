"""The frames that get new lips: a video or a still picture, turned, shrunk and cut as the flags say."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from wav2lip.crops import resize
from wav2lip.errors import InputError
from wav2lip.lipsync.digest import digest_of
from wav2lip.lipsync.part import WHOLE, Part
from wav2lip.media import is_picture, probe, read_frames, read_picture, times_leap

log = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.1, 240.0  # frames a second of a result made of a still
LARGEST_SIDE, LARGEST_AREA = 4096, 4096 * 2304  # pixels that every player of H.264 shows: level 5.2
MISSING = 0.5  # seconds by which a video may be shorter than its file states before it is said


@dataclass(frozen=True)
class Framing:
    """What is done to every frame before anything else, in this order."""

    resize_factor: int = 1  # divide width and height by this
    rotate: bool = False  # turn by 90 degrees clockwise
    crop: tuple[int, int, int, int] = (0, -1, 0, -1)  # top, bottom, left, right in pixels; -1: to the edge

    def __post_init__(self) -> None:
        if self.resize_factor < 1:
            raise InputError(f"--resize_factor is {self.resize_factor}; give a whole number from 1 up")

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """The framed part of a frame (H, W, 3)."""
        if self.resize_factor > 1:
            height, width = (size // self.resize_factor for size in frame.shape[:2])
            if not min(height, width):
                raise InputError(
                    f"--resize_factor {self.resize_factor} leaves nothing of a frame of "
                    f"{frame.shape[1]} x {frame.shape[0]} pixels; give a smaller one"
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
                f"--crop {' '.join(map(str, self.crop))} (top bottom left right) leaves nothing of a frame of "
                f"{frame.shape[1]} x {frame.shape[0]} pixels; give rows and columns inside it"
            )
        return np.ascontiguousarray(cropped)


NO_FRAMING = Framing()


class FaceSource:
    """Frames of a video or of a still, read anew at each pass and never held."""

    def __init__(self, path: str | PathLike[str], *, still_fps: float = 25.0, static: bool = False,
                 framing: Framing = NO_FRAMING, part: Part = WHOLE, compat: str = "none",
                 most_pixels: int | None = None):  # fmt: skip
        """path: video or picture. still_fps: frame rate of the result for a still. static: use the first frame only.
        part: of a video, what is used.
        compat: "public" takes a video's frames as they are at their mean rate, whatever their timestamps say, and
        leaves a picture unframed.
        most_pixels: of a video, larger frames are left out, as `read_frames` does.
        Raises: InputError if the file cannot be used.
        """
        self.path = Path(path)
        self._public = compat == "public"
        self._picture: np.ndarray | None = None
        self._framing = framing
        self._most_pixels = most_pixels
        self._told: set[str] = set()
        self.shrunk = False  # a picture larger than players show
        self._begin = 0  # first frame that is used
        self._end: int | None = None  # and the first one after the last
        if self.path.is_file() and is_picture(path):
            if part != WHOLE:
                raise InputError(f"{path}: is a picture, of which --start and --end take no part; leave them out")
            picture = read_picture(path)
            self._picture = picture if self._public else self._within_reach(framing.apply(picture))
            if not SLOWEST <= still_fps <= FASTEST:  # so that NaN is refused too
                raise InputError(f"--fps is {still_fps}; give frames a second between {SLOWEST} and {FASTEST}")
            self.fps = Fraction(still_fps).limit_denominator(1001)
        else:
            media = probe(path)
            video, self._seconds = media.require_video(), media.seconds
            self.fps = video.mean_fps if self._public else video.fps
            self._begin, self._end = part.frames(self.fps)
            self._part = part
            if part.end is not None and 0 < self._seconds < part.end - MISSING:
                self._tell(f"{path}: ends before --end, at {self._seconds:.2f} s; it is used up to there")
        self.static = static or self._picture is not None

    def _within_reach(self, picture: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3), no larger than players show."""
        height, width = picture.shape[:2]
        scale = min(1.0, LARGEST_SIDE / max(height, width), (LARGEST_AREA / (height * width)) ** 0.5)
        if scale == 1:
            return picture
        size = max(2, int(width * scale)), max(2, int(height * scale))
        self.shrunk = True
        self._tell(
            f"{self.path}: {width} x {height} pixels are more than players of H.264 show; it is shrunk to "
            f"{size[0]} x {size[1]}"
        )
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)

    @property
    def fingerprint(self) -> str:
        """What its frames depend on."""
        read = (self._framing, str(self.fps), self.static, self._public, self._begin, self._end, self._most_pixels)
        return f"{digest_of(self.path)} {read}"

    @property
    def stated_frames(self) -> int:
        """How many frames there are by what the file states; 0 if it does not say, or is a still or static."""
        if self.static or not self._seconds:
            return 0
        stated = round(self._seconds * self.fps)
        return max(0, min(stated, stated if self._end is None else self._end) - self._begin)

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Every frame once, (H, W, 3) uint8 RGB, from `first` up to but not including `last`; of a still, the one.

        What is wrong with the file is logged the first time.
        Raises: InputError if there is none.
        """
        if self._picture is not None:
            yield self._picture
            return
        begin, end = self._begin + first, self._end
        if self.static:
            last = 1
        if last is not None:
            end = self._begin + last if end is None else min(end, self._begin + last)
        count = 0
        for frame in _each_by_itself(self._decoded(begin, end)):
            yield self._framing.apply(frame)
            count += 1
        if not count:
            raise self._without_frames()
        seconds = (begin + count) / float(self.fps)
        due = self._seconds if end is None else min(self._seconds, end / float(self.fps))
        if not self.static and seconds < due - MISSING:
            self._tell(f"{self.path}: its pictures last {seconds:.1f} s of the {self._seconds:.1f} s that it states")

    def _decoded(self, begin: int, end: int | None) -> Iterator[np.ndarray]:
        """Frames of the whole video from `begin` up to but not including `end`; jumped to where that is safe."""
        read, most = read_frames, self._most_pixels
        if self._public:
            return itertools.islice(read(self.path, None, self._tell, most_pixels=most), begin, end)
        if not begin or self._leaps:
            return itertools.islice(read(self.path, self.fps, self._tell, most_pixels=most), begin, end)
        return read(self.path, self.fps, self._tell, begin, end, most)

    @cached_property
    def _leaps(self) -> bool:
        return times_leap(self.path)

    def _without_frames(self) -> InputError:
        if self._begin:
            return InputError(
                f"{self.path}: has no frame at --start {self._part.start:g} s or later; it lasts {self._seconds:.2f} s"
            )
        return InputError(f"{self.path}: no frame of its video can be decoded; re-encode it")

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            log.warning(sentence)


def _each_by_itself(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames that may be painted on, each as soon as it is given; one that comes again is copied before."""
    held: np.ndarray | None = None
    for frame in frames:
        if held is not None:
            yield held.copy() if frame is held else held
        held = frame
    if held is not None:
        yield held
