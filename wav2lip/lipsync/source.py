"""The frames that get new lips: a video or a still picture, turned, shrunk and cut as the flags say."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import numpy as np

from wav2lip.crops import resize
from wav2lip.errors import InputError
from wav2lip.media import is_picture, probe, read_frames, read_picture

log = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.1, 240.0  # frames a second of a result made of a still
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
                 framing: Framing = NO_FRAMING, compat: str = "none"):  # fmt: skip
        """path: video or picture. still_fps: frame rate of the result for a still. static: use the first frame only.
        compat: "public" takes a video's frames as they are at their mean rate, whatever their timestamps say, and
        leaves a picture unframed.
        Raises: InputError if the file cannot be used.
        """
        self.path = Path(path)
        self._public = compat == "public"
        self._picture: np.ndarray | None = None
        self._framing = framing
        self._told: set[str] = set()
        if self.path.is_file() and is_picture(path):
            picture = read_picture(path)
            self._picture = picture if self._public else framing.apply(picture)
            if not SLOWEST <= still_fps <= FASTEST:  # so that NaN is refused too
                raise InputError(f"--fps is {still_fps}; give frames a second between {SLOWEST} and {FASTEST}")
            self.fps = Fraction(still_fps).limit_denominator(1001)
        else:
            media = probe(path)
            video, self._seconds = media.require_video(), media.seconds
            self.fps = video.mean_fps if self._public else video.fps
        self.static = static or self._picture is not None

    def frames(self) -> Generator[np.ndarray, None, None]:
        """Every frame once, (H, W, 3) uint8 RGB; of a still or a static source, one.

        What is wrong with the file is logged the first time.
        Raises: InputError if there is none.
        """
        if self._picture is not None:
            yield self._picture
            return
        frames = read_frames(self.path, None if self._public else self.fps, self._tell)
        count = 0
        for frame in itertools.islice(frames, 1 if self.static else None):
            yield self._framing.apply(frame)
            count += 1
        if not count:
            raise InputError(f"{self.path}: no frame of its video can be decoded; re-encode it")
        seconds = count / float(self.fps)
        if not self.static and seconds < self._seconds - MISSING:
            self._tell(f"{self.path}: its pictures last {seconds:.1f} s of the {self._seconds:.1f} s that it states")

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            log.warning(sentence)
