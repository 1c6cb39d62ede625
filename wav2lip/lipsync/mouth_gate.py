"""Mouth openness of a stream, from the voice up to a frame and no further ahead than its mel window.

`silence.mouth_openness` looks 300 ms ahead to ignore short pauses. A stream cannot: it holds the mouth open for that
time instead, and opens it as soon as it detects a voice.
"""

from __future__ import annotations

import numpy as np

from wav2lip.audio.voice_activity import STEP_RATE, VOTE_STEPS
from wav2lip.lipsync.silence import CLOSING_S, MIN_PAUSE_S, OPENING_S

AHEAD_S = 0.08  # voice known ahead of a frame: its mel window has 160 ms of audio, and the detector lags by 70 ms
HOLD_S = MIN_PAUSE_S - AHEAD_S  # after the last voice, so that shorter pauses do not close the mouth
INTERRUPT_FRAMES = 2  # until the mouth is closed after an interruption, besides the frame in progress


class MouthGate:
    """Openness of the mouth, frame after frame."""

    lookahead_s = AHEAD_S + VOTE_STEPS // 2 / STEP_RATE  # audio needed beyond the time of a frame

    def __init__(self) -> None:
        self._voice = np.zeros(0, bool)  # 10 ms each, since `_first`
        self._first = 0  # step
        self._position = 0.0  # 0: closed; 1: open; moves linearly
        self._is_interrupted = False

    def push(self, decisions: np.ndarray) -> None:
        """Append decisions of `VoiceDetector`."""
        self._voice = np.concatenate([self._voice, decisions])

    def restart(self) -> None:
        """Start new audio, whose first frame is at 0 s; the mouth keeps its position."""
        self._voice, self._first = np.zeros(0, bool), 0

    def interrupt(self) -> None:
        """Close the mouth within INTERRUPT_FRAMES frames, until the next voice."""
        self._is_interrupted = True

    def is_ready(self, time: float) -> bool:
        """Return True if the decisions for the frame at `time` seconds are known."""
        return self._first + len(self._voice) >= self._end(time)

    def next(self, time: float, seconds: float) -> tuple[bool, float]:
        """Return True if somebody speaks, and the openness from 0 (closed) to 1 (unrestricted).

        time: of the next frame, ascending. seconds: its duration.
        """
        begin, end = round((time - HOLD_S) * STEP_RATE), self._end(time)
        is_speaking = bool(self._voice[max(0, begin - self._first) : max(0, end - self._first)].any())
        drop = min(max(0, begin - self._first), len(self._voice))
        self._voice, self._first = self._voice[drop:], self._first + drop
        if is_speaking:
            self._is_interrupted = False
            self._position = min(1.0, self._position + seconds / OPENING_S)
        else:
            change = 1 / INTERRUPT_FRAMES if self._is_interrupted else seconds / CLOSING_S
            self._position = max(0.0, self._position - change)
        return is_speaking, self._position**2 * (3 - 2 * self._position)

    @staticmethod
    def _end(time: float) -> int:
        return round((time + AHEAD_S) * STEP_RATE)


def stream_openness(voice: np.ndarray, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Run a gate over a whole recording.

    voice: (T,) bool, see `detect_voice`.
    Returns: (frames,) bool, True where somebody speaks, and (frames,) float32 openness.
    """
    gate = MouthGate()
    gate.push(voice)
    steps = [gate.next(index / fps, 1 / fps) for index in range(frames)]
    return np.array([step[0] for step in steps]), np.array([step[1] for step in steps], np.float32)
