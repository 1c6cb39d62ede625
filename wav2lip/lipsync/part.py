"""A part of a video, by its times."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from fractions import Fraction

from wav2lip.errors import InputError

TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")  # [[hours:]minutes:]seconds


@dataclass(frozen=True)
class Part:
    """From one time of a video up to another, in seconds after its first frame."""

    start: float = 0.0
    end: float | None = None  # None: to the end of the video

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise InputError(f"--start is {self.start}; give seconds from 0 up")
        if self.end is not None and not self.end > self.start:  # so that NaN is refused too
            raise InputError(
                f"--end is {self.end:g} s, which is not after --start at {self.start:g} s; give a later one"
            )

    def frames(self, fps: Fraction) -> tuple[int, int | None]:
        """The first frame and the one after the last: those nearest in time; at least one."""
        first = _nearest(self.start, fps)
        return first, None if self.end is None else max(first + 1, _nearest(self.end, fps))


def _nearest(time: float, fps: Fraction) -> int:
    return round(Fraction(time).limit_denominator(1_000_000) * fps)


WHOLE = Part()


def seconds(text: str) -> float:
    """Seconds from what a person types after a flag: 83.5, 1:23.5 or 0:01:23.5."""
    match = TIME.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, MM:SS or HH:MM:SS, as in 83.5 or 1:23.5")
    hours, minutes, rest = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)
