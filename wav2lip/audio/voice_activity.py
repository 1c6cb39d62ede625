"""Voice activity: WebRTC's detector for speech, and level-based silence for metrics and data quality."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import webrtcvad

from wav2lip.audio.mel import SAMPLE_RATE
from wav2lip.audio.windows import SAMPLES_PER_FRAME

STEP_RATE = 100  # VAD decisions per second
STEP_SAMPLES = SAMPLE_RATE // STEP_RATE
AGGRESSIVENESS = 2  # WebRTC's setting, 0 to 3; measured in docs/seams.md
VOTE_STEPS = 15  # 150 ms: false detections in noise last less than half of this, words longer

# Automatic gain amplifies quiet speech to the level that the detector needs, but never so far that the detector takes
# background noise for a voice; measured in docs/seams.md. Levels are in dBFS, RMS of a step.
PEAK_TARGET_DB = -25.0  # target of the recent maximum
NOISE_LIMIT_DB = -50.0  # limit of the recent minimum
MAX_GAIN_DB = 24.0
PEAK_DECAY_DB_PER_S = 3.0
NOISE_RISE_DB_PER_S = 5.0

SILENCE_RATIO = 0.02  # relative to the 95 % quantile of the RMS of all frames: 34 dB below loud frames
MIN_SILENCE_RMS = 1e-4  # -80 dBFS: quieter frames are always silent
MIN_SILENCE_FRAMES = 8  # shorter silences are stops within words
SILENCE_MARGIN_FRAMES = 3  # dropped at both ends of a silence, where lips still move

SILENT_DB = -50.0  # dBFS, absolute threshold for `is_below_level`


class VoiceDetector:
    """WebRTC's VAD after automatic gain, for audio that arrives in blocks; one decision per 10 ms."""

    def __init__(self) -> None:
        self._detector = webrtcvad.Vad(AGGRESSIVENESS)
        self._gain = AutomaticGain()
        self._rest = np.zeros(0, np.float32)
        self._decisions = np.zeros(VOTE_STEPS // 2, np.float32)  # decisions that later votes need

    def push(self, block: np.ndarray) -> np.ndarray:
        """Return the next decisions (t,) bool; they lag 70 ms behind the audio.

        block: (n,) float32 at 16 kHz.
        """
        audio = np.concatenate([self._rest, block])
        complete = len(audio) // STEP_SAMPLES * STEP_SAMPLES
        self._rest = audio[complete:]
        return self._vote([self._is_speech(step) for step in audio[:complete].reshape(-1, STEP_SAMPLES)])

    def finish(self) -> np.ndarray:
        """Return the last decisions (t,) bool; the last step is padded with silence."""
        last = [np.pad(self._rest, (0, STEP_SAMPLES - len(self._rest)))] if len(self._rest) else []
        return self._vote([*map(self._is_speech, last), *[False] * (VOTE_STEPS // 2)])

    def _is_speech(self, step: np.ndarray) -> bool:
        return bool(self._detector.is_speech(_to_pcm16(self._gain(step)).tobytes(), SAMPLE_RATE))

    def _vote(self, decisions: list[bool]) -> np.ndarray:
        """Return the majority of VOTE_STEPS decisions around each step for which they are known."""
        known = np.concatenate([self._decisions, np.array(decisions, np.float32)])
        self._decisions = known[-(VOTE_STEPS - 1) :]
        if len(known) < VOTE_STEPS:
            return np.zeros(0, bool)
        return np.convolve(known, np.ones(VOTE_STEPS), "valid") * 2 > VOTE_STEPS


def detect_voice(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Detect voice in a whole recording, see `VoiceDetector`.

    blocks: (n,) float32 audio at 16 kHz, in order.
    Returns: (T,) bool, one value per 10 ms.
    """
    detector = VoiceDetector()
    return np.concatenate([*(detector.push(block) for block in blocks), detector.finish()])


def detect_silences(wav: np.ndarray) -> np.ndarray:
    """Return a mask (N,) of the frames in silences of at least 8 frames, without 3 frames at both ends.

    A frame is silent relative to the loud frames of the same audio.

    wav: (M,) float32 at 16 kHz, beginning with the first frame.
    """
    frames = len(wav) // SAMPLES_PER_FRAME
    if not frames:
        return np.zeros(0, bool)
    rms = np.sqrt(np.square(wav[: frames * SAMPLES_PER_FRAME].reshape(frames, -1), dtype=np.float64).mean(axis=1))
    quiet = rms < max(MIN_SILENCE_RMS, SILENCE_RATIO * float(np.quantile(rms, 0.95)))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    silent = np.zeros(frames, bool)
    for begin, end in edges.reshape(-1, 2):
        if end - begin >= MIN_SILENCE_FRAMES:
            silent[begin + SILENCE_MARGIN_FRAMES : end - SILENCE_MARGIN_FRAMES] = True
    return silent


def is_below_level(frames: np.ndarray, level_db: float = SILENT_DB) -> np.ndarray:
    """Return a mask (N,) of the rows of audio (N, samples) with an RMS below an absolute level in dBFS."""
    return np.mean(np.square(frames), axis=1) < 10 ** (level_db / 10)


class AutomaticGain:
    """Amplify quiet steps, depending on the levels up to each of them."""

    def __init__(self) -> None:
        self._peak, self._noise = -np.inf, np.inf  # dBFS

    def __call__(self, step: np.ndarray) -> np.ndarray:
        """Return a step of (STEP_SAMPLES,) amplified."""
        level = 10 * np.log10(np.mean(np.square(step)) + 1e-12)  # epsilon limits it to -120 dBFS
        self._peak = max(self._peak - PEAK_DECAY_DB_PER_S / STEP_RATE, level)
        self._noise = min(self._noise + NOISE_RISE_DB_PER_S / STEP_RATE, max(level, NOISE_LIMIT_DB - MAX_GAIN_DB))
        gain = np.clip(min(PEAK_TARGET_DB - self._peak, NOISE_LIMIT_DB - self._noise), 0, MAX_GAIN_DB)
        return step * 10 ** (gain / 20)


def _to_pcm16(step: np.ndarray) -> np.ndarray:
    return (np.clip(step, -1, 1) * 32767).astype("<i2")
