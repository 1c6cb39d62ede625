"""Audio of a stream: mel windows for the generator, voice for the mouth, and samples for the listener."""

from __future__ import annotations

import math

import numpy as np
import soxr

from wav2lip.audio.mel import (
    HOP_SAMPLES,
    MEL_BANDS,
    MEL_RATE,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    IncrementalMel,
)
from wav2lip.audio.voice_activity import STEP_SAMPLES, VoiceDetector
from wav2lip.audio.windows import LEAD_COLUMNS, WINDOW_COLUMNS, cut_window
from wav2lip.errors import InputError
from wav2lip.lipsync.mouth_gate import MouthGate
from wav2lip.media.container import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

SCALES = {"int16": 32768.0, "int32": 2147483648.0, "float32": 1.0, "float64": 1.0}


class StreamResampler:
    """Convert pieces of audio at any rate to float32 mono at a fixed rate."""

    def __init__(self, rate: int):
        self.rate = rate  # Hz
        self.source_rate = rate  # rate of the last piece
        self._resampler: soxr.ResampleStream | None = None

    def __call__(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Return the samples (n,) that are final; a change of the rate flushes those at the previous one."""
        rest = np.zeros(0, np.float32)
        if rate != self.source_rate:
            rest = self.finish()
            self.source_rate = rate
        if rate == self.rate:
            return np.concatenate([rest, samples])
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(rate, self.rate, 1, dtype="float32")
        return np.concatenate([rest, self._resampler.resample_chunk(samples)])

    def finish(self) -> np.ndarray:
        """Return the remaining samples."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._resampler = None
        return rest


class Utterance:
    """Audio from one frame on, until it is finished: windows of its frames, in order."""

    def __init__(self, fps: float, gate: MouthGate):
        self._fps, self._gate = fps, gate
        self._mel, self._voice = IncrementalMel(), VoiceDetector()
        self._num_samples = 0  # at a rate of 16 kHz
        self._columns = np.zeros((MEL_BANDS, 0), np.float32)
        self._first = 0  # column at which `_columns` begins
        self._base, self._next = 0.0, 0  # the next frame is at _base + _next / fps seconds
        self._is_finished = False
        gate.restart()

    def push(self, samples: np.ndarray) -> None:
        """Append audio (n,) float32 at 16 kHz."""
        self._num_samples += len(samples)
        self._append(self._mel.push(samples))
        self._gate.push(self._voice.push(samples))

    def finish(self) -> None:
        """End the audio: windows beyond it are silent."""
        self._append(self._mel.finish())
        self._gate.push(self._voice.finish())
        self._is_finished = True

    def change_fps(self, fps: float) -> None:
        """Change the frame rate from the next frame on."""
        self._base, self._next, self._fps = self._time(), 0, fps

    def has_next(self, count: int = 1) -> bool:
        """Return True if the next `count` frames have all their audio; at the end of the audio fewer may be left."""
        if self._is_finished:
            return self._next < math.ceil((self._num_samples / SAMPLE_RATE - self._base) * self._fps - 1e-6)
        last = count - 1
        available = self._first + self._columns.shape[1]
        return self._start(last) + WINDOW_COLUMNS <= available and self._gate.is_ready(self._time(last))

    def next(self) -> tuple[np.ndarray, bool, float]:
        """Return the mel window (80, 16) of the next frame, whether somebody speaks, and the mouth's openness."""
        window = cut_window(self._columns, self._start(), self._first)
        is_speaking, openness = self._gate.next(self._time(), 1 / self._fps)
        self._next += 1
        drop = min(max(0, self._start() - self._first), self._columns.shape[1])
        self._columns, self._first = self._columns[:, drop:], self._first + drop
        return window, is_speaking, openness

    def missing_samples(self, count: int = 1) -> int:
        """Return the samples at 16 kHz, at least 0, until the next `count` frames have all their audio."""
        mel = (self._start(count - 1) + WINDOW_COLUMNS - 1) * HOP_SAMPLES + WINDOW_SAMPLES // 2
        voice = math.ceil((self._time(count - 1) + self._gate.lookahead_s) * SAMPLE_RATE) + STEP_SAMPLES
        return max(0, max(mel, voice) - self._num_samples)

    def _time(self, offset: int = 0) -> float:
        """Return the time in seconds of the frame `offset` after the next one."""
        return self._base + (self._next + offset) / self._fps

    def _start(self, offset: int = 0) -> int:
        """Return the first mel column of the window of the frame `offset` after the next one.

        As in `InferenceWindows.build`.
        """
        return math.floor(self._base * MEL_RATE + (self._next + offset) * (MEL_RATE / self._fps) - LEAD_COLUMNS)

    def _append(self, columns: np.ndarray) -> None:
        self._columns = np.concatenate([self._columns, columns], axis=1)


def to_mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return (n,) float32 in [-1, 1]: the mean of the channels of (n,) or (n, channels) int16, int32 or float.

    Raises: InputError for any other value, non-finite samples, or a rate outside of the supported range.
    """
    if samples.ndim not in (1, 2) or samples.dtype.name not in SCALES:
        raise InputError(
            f"audio of {samples.dtype} and shape {samples.shape}: must be (n,) or (n, channels) of "
            f"{', '.join(SCALES)}"
        )  # fmt: skip
    if rate != int(rate) or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise InputError(f"audio at {rate} Hz: must be an integer of {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz")
    mono = (samples if samples.ndim == 1 else samples.mean(axis=1)).astype(np.float32) / SCALES[samples.dtype.name]
    if not np.isfinite(mono).all():
        raise InputError("audio: contains non-finite samples; send finite samples in [-1, 1]")
    return mono.astype(np.float32)
