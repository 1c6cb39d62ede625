"""Timestamps that restart or jump, as in joined recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import av

from wav2lip.types import OnProblem

MAX_GAP_S = 3600.0  # a larger jump ahead of timestamps is an error, and frames are joined
MAX_OVERLAP_S = 1.0  # a larger jump back of timestamps is a restart, and frames are joined
MIN_RESTART_S = 0.1  # a jump back by more, to where the timestamps began, is the restart of a short part
BEGIN_TOLERANCE_S = 0.05  # parts of one encoder begin at one time, within its delay


def no_shifts() -> None:
    """Return no shifts: the default of `read_shifts`, by which the parts of each stream follow each other."""


def packet_times(packet: av.Packet) -> tuple[float, float] | None:
    """Return the times in seconds at which a packet is shown and decoded; None if it states none."""
    if packet.pts is None or packet.time_base is None:
        return None
    shown = float(packet.pts * packet.time_base)
    return shown, shown if packet.dts is None else float(packet.dts * packet.time_base)


class RestartDetector:
    """Notice where the timestamps of a stream restart: a later part of joined files begins there."""

    def __init__(self) -> None:
        self._begin = math.inf  # of the current part
        self._last = -math.inf

    def is_restart(self, time: float) -> bool:
        """Return True if a timestamp of the file, in seconds and in decoding order, is the first of a later part."""
        back = self._last - time
        is_restart = back > MAX_OVERLAP_S or (back > MIN_RESTART_S and time <= self._begin + BEGIN_TOLERANCE_S)
        self._begin = time if is_restart else min(self._begin, time)
        self._last = time
        return is_restart


class TimestampRepair:
    """Make the timestamps of a stream continuous where they restart or jump, as in concatenated recordings."""

    def __init__(
        self, path: str, kind: str, on_problem: OnProblem, read_shifts: Callable[[], Sequence[float] | None] = no_shifts
    ):
        """kind: stream type, for the message. read_shifts: see `part_shifts`; called at the first restart."""
        self._path, self._kind, self._on_problem = path, kind, on_problem
        self._shift, self._restarts, self._jumps = 0.0, 0, 0
        self._detector = RestartDetector()
        self._read_shifts = lru_cache(maxsize=1)(read_shifts)

    def repair(self, time: float, last: float, expected: float) -> float:
        """Return the continuous time of a timestamp, which is `expected` or later at a jump; all in seconds.

        last: the previous frame's continuous time.
        """
        if self._detector.is_restart(time):
            self._restarts += 1
            self._shift = self._shift_of_part(time, expected)
        elif not -MAX_OVERLAP_S <= time + self._shift - last <= MAX_GAP_S:
            self._shift = expected - time
            self._jumps += 1
        return time + self._shift

    def _shift_of_part(self, time: float, expected: float) -> float:
        """Return the shift from a restart on: that of both streams, else that which continues this one."""
        shifts = None if self._jumps else self._read_shifts()
        if shifts is not None and self._restarts < len(shifts):
            shift = shifts[self._restarts]
            if -MIN_RESTART_S <= time + shift - expected <= MAX_GAP_S:
                return shift
        return expected - time

    def report(self) -> None:
        """Report the number of jumps, if any."""
        if count := self._restarts + self._jumps:
            self._on_problem(
                f"{self._path}: {self._kind} timestamps restart or jump {count} times; joined without a pause"
            )
