"""Level of the audio of a source, and the words in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from wav2lip.audio.voice_activity import STEP_RATE, STEP_SAMPLES, VoiceDetector

SMOOTH_STEPS = 5  # the level is that of 50 ms, some periods of a voice
PEAK_STEPS = 101  # 1 s: the level is compared with its maximum around each step
DIP_DB = 20.0  # below that maximum nobody speaks
FLOOR_DB = -60.0  # dBFS; below it nobody speaks
MIN_VOICE_SHARE = 0.3  # of a word, by `VoiceDetector`; noise has less
MIN_GAP_S = 0.08  # between two words; the closure of a p or t is shorter
MAX_WORD_S = 2.0  # a longer stretch of voice has several words and is split where it is quietest
MIN_WORD_S = 0.2  # shorter parts of a split are no words


@dataclass(frozen=True)
class VoiceLevel:
    """Level of a recording, in steps of 10 ms."""

    decibels: np.ndarray  # (T,) float: dBFS
    is_voice: np.ndarray  # (T,) bool: decisions of `VoiceDetector`

    @classmethod
    def measure(cls, blocks: Iterable[np.ndarray]) -> VoiceLevel:
        """Measure audio in blocks (n,) float32 at 16 kHz, in order."""
        detector, rest = VoiceDetector(), np.zeros(0, np.float32)
        power, decisions = [np.zeros(0)], []
        for block in blocks:
            decisions.append(detector.push(block))
            rest = np.concatenate([rest, block])
            steps = len(rest) // STEP_SAMPLES
            squares = np.square(rest[: steps * STEP_SAMPLES], dtype=np.float64)
            power.append(squares.reshape(steps, STEP_SAMPLES).mean(axis=1))
            rest = rest[steps * STEP_SAMPLES :]
        smooth = np.concatenate(power)
        if len(smooth):
            smooth = uniform_filter1d(smooth, SMOOTH_STEPS, mode="nearest")
        voice = np.concatenate([*decisions, detector.finish()])[: len(smooth)]
        return cls(10 * np.log10(smooth.clip(1e-12)), voice)

    def at_frames(self, frames: int, fps: float, lag_s: float = 0.0) -> np.ndarray:
        """Return the level (frames,) at the times of frames, `lag_s` later than them; at least FLOOR_DB."""
        times = (np.arange(frames) + 0.5) / fps + lag_s
        if not len(self.decibels):
            return np.full(frames, FLOOR_DB)
        steps = (np.arange(len(self.decibels)) + 0.5) / STEP_RATE
        return np.maximum(np.interp(times, steps, self.decibels), FLOOR_DB)

    def words(self, fps: float) -> list[tuple[int, int]]:
        """Return the frames, first and end, of each stretch of voice without a pause; at most MAX_WORD_S long."""
        if not len(self.decibels):
            return []
        peak = maximum_filter1d(self.decibels, PEAK_STEPS, mode="nearest")
        edges = np.flatnonzero(
            np.diff(self.decibels > np.maximum(peak - DIP_DB, FLOOR_DB), prepend=False, append=False)
        ).tolist()
        joined: list[tuple[int, int]] = []
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            first = joined.pop()[0] if joined and begin - joined[-1][1] < MIN_GAP_S * STEP_RATE else begin
            joined.append((first, end))
        words = itertools.chain.from_iterable(self._split(begin, end) for begin, end in joined)
        frames = [
            (round(begin / STEP_RATE * fps), round(end / STEP_RATE * fps))
            for begin, end in words
            if self.is_voice[begin:end].mean() >= MIN_VOICE_SHARE
        ]
        return [(first, last) for first, last in frames if last > first]

    def _split(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield parts of at most MAX_WORD_S, cut at their quietest steps."""
        margin = round(MIN_WORD_S * STEP_RATE)
        if end - begin <= MAX_WORD_S * STEP_RATE:
            yield begin, end
            return
        cut = begin + margin + int(self.decibels[begin + margin : end - margin].argmin())
        yield from self._split(begin, cut)
        yield from self._split(cut, end)
