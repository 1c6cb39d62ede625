"""Clock of a live stream: when a frame is due, when missing audio becomes silence, and which frame rate is kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction

WINDOW_S = 0.1625  # a frame needs the audio up to this time after it
RENDER_S = 0.1  # from the end of the audio of a frame to its release: waiting for the next one, and generation
GENERATION_S = 0.055  # before the release of a frame; audio that is missing then is replaced by silence
MAX_LATE_S = 0.5  # a stream that is later than this is held: the clock is set back, and nothing is skipped

FRAME_RATES = (25.0, 20.0, 15.0)  # steps of a machine that is too slow
MEASURED_FRAMES = 50  # frames over which the share of late frames is measured
MAX_LATE_SHARE = 0.1  # above it the next lower rate is used
MAX_BUSY_SHARE = 0.8  # of the time of a frame at the next higher rate, below which that rate is used
MAX_RAISE_FRAMES = 3000  # frames in time before a higher rate, at most


class Clock:
    """Due times of frames, on a clock that starts with the first one."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        """now: seconds of a steady clock."""
        self._now = now
        self._start: float | None = None
        self.num_frames, self.num_late = 0, 0
        self.held_s = 0.0  # seconds by which the stream was held since this was set to 0

    def until_due(self, frame_time: Fraction) -> float:
        """Return the seconds until a frame at `frame_time` of the stream is due; negative if it is late."""
        if self._start is None:
            self._start = self._now()
        return self._start + float(frame_time) + WINDOW_S + RENDER_S - self._now()

    def until_padded(self, frame_time: Fraction) -> float:
        """Return the seconds until missing audio of a frame is replaced by silence."""
        return self.until_due(frame_time) - GENERATION_S

    def record(self, frame_time: Fraction, seconds: float) -> bool:
        """Count a frame that is shown now; return True if it is late.

        seconds: its duration; a frame is late if it is shown after its end. A stream that is late by more than
        MAX_LATE_S is held.
        """
        late = -self.until_due(frame_time)
        self.num_frames += 1
        self.num_late += late > seconds
        if late > MAX_LATE_S and self._start is not None:
            self._start += late
            self.held_s += late
        return late > seconds


class RateControl:
    """Frame rate that a machine sustains: lower after late frames, higher again after frames in time.

    Each lower rate doubles the frames in time that a higher one needs, so that a machine between two rates stays at
    the lower one.
    """

    def __init__(self, fps: float):
        self._rates = [fps, *(rate for rate in FRAME_RATES if rate < fps)]
        self._level = 0
        self._frames: deque[tuple[bool, float]] = deque(maxlen=MEASURED_FRAMES)
        self._num_in_time = 0  # frames since the last late one, or the last change
        self._raise_frames = MEASURED_FRAMES

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self._rates[self._level]

    def record(self, is_late: bool, busy_s: float) -> None:
        """Record a frame. busy_s: time in which it was generated."""
        self._frames.append((is_late, busy_s))
        self._num_in_time = 0 if is_late else self._num_in_time + 1
        if len(self._frames) < MEASURED_FRAMES:
            return
        late = sum(frame[0] for frame in self._frames) / MEASURED_FRAMES
        busy = sum(frame[1] for frame in self._frames) / MEASURED_FRAMES  # seconds per frame
        if late > MAX_LATE_SHARE and self._level + 1 < len(self._rates):
            self._raise_frames = min(2 * self._raise_frames, MAX_RAISE_FRAMES)
            self._change(1)
            return
        has_waited = self._num_in_time >= self._raise_frames
        if self._level and has_waited and busy * self._rates[self._level - 1] < MAX_BUSY_SHARE:
            self._change(-1)

    def _change(self, step: int) -> None:
        self._level += step
        self._frames.clear()
        self._num_in_time = 0
