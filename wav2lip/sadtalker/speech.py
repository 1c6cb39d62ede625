"""Mel windows of driving audio: 0.2 s around every frame at 25 fps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from wav2lip.audio.mel import MEL_BANDS, MEL_RATE, SAMPLE_RATE, SILENT_MEL, WINDOW_SAMPLES, melspectrogram, stream_mel
from wav2lip.audio.windows import FPS, SAMPLES_PER_FRAME, WINDOW_COLUMNS
from wav2lip.errors import InputError
from wav2lip.media import read_audio
from wav2lip.types import PathType

LEAD_FRAMES = 2  # the window of a frame begins this much earlier


@dataclass(frozen=True)
class SpeechMel:
    """Mel spectrogram of driving audio."""

    mel: np.ndarray  # (80, M) float32
    frames: int  # T, at 25 fps
    seconds: float

    def windows(self, first: int, last: int) -> np.ndarray:
        """Return the windows of the frames from `first` up to but not including `last`: (N, 1, 80, 16) float32.

        Columns outside of the audio repeat the nearest one.
        """
        columns = window_starts(np.arange(first, last))[:, None] + np.arange(WINDOW_COLUMNS)
        return self.mel[:, np.clip(columns, 0, self.mel.shape[1] - 1)].transpose(1, 0, 2)[:, None]


def window_starts(frames: np.ndarray) -> np.ndarray:
    """Return the first mel column of the windows of frames (N,), before they are limited to the audio."""
    return np.trunc(MEL_RATE * ((frames - LEAD_FRAMES) / FPS)).astype(np.int64)


def load_speech(path: PathType, compat: str = "none") -> SpeechMel:
    """Compute the mel spectrogram of a file.

    compat: "public" drops the audio after the last full frame and pads with zeros instead of a reflection; otherwise
        the frames cover the audio.
    Raises: InputError for a file without audio, with non-finite samples, or too short for compat="public".
    """
    with contextlib.closing(read_audio(path, SAMPLE_RATE)) as blocks:
        audio = _FiniteAudio(path, blocks)
        if compat == "public":
            return _public_mel(path, np.concatenate([*audio, np.zeros(0, np.float32)]))
        mel = np.concatenate(list(stream_mel(audio)), axis=1)
    if not audio.samples:
        raise InputError(f"{path}: its audio track is empty; use a file with audio")
    frames = -(-audio.samples // SAMPLES_PER_FRAME)
    return SpeechMel(mel, frames, audio.samples / SAMPLE_RATE)


class _FiniteAudio:
    """Iterate over blocks of samples and count them. Raises: InputError for non-finite samples."""

    def __init__(self, path: PathType, blocks: Iterable[np.ndarray]):
        self.path, self.samples, self._blocks = path, 0, blocks

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            if not np.isfinite(block).all():
                raise InputError(f"{self.path}: contains non-finite samples; export the audio again as 16-bit PCM")
            self.samples += len(block)
            yield block


def _public_mel(path: PathType, samples: np.ndarray) -> SpeechMel:
    frames = len(samples) // SAMPLES_PER_FRAME
    if not frames:
        raise InputError(f"{path}: audio of {len(samples) / SAMPLE_RATE:.3f} s is shorter than a frame of 0.04 s")
    return speech_from_samples(samples[: frames * SAMPLES_PER_FRAME])


def speech_from_samples(samples: np.ndarray) -> SpeechMel:
    """Compute the mel spectrogram of samples as the reference does, with zeros at both ends.

    samples: (N,) float in [-1, 1] at 16 kHz.
    """
    padded = np.pad(samples, (0, max(0, WINDOW_SAMPLES - len(samples))))
    mel = melspectrogram(padded, padding="constant")[:, : 1 + len(samples) // (SAMPLE_RATE // MEL_RATE)]
    return SpeechMel(mel, len(samples) // SAMPLES_PER_FRAME, len(samples) / SAMPLE_RATE)


def silent_speech(seconds: float, compat: str = "none") -> SpeechMel:
    """Return silence; the reference uses 0 for it, which is not silent."""
    level = 0.0 if compat == "public" else SILENT_MEL
    frames = max(1, math.ceil(seconds * FPS - 1e-6))
    return SpeechMel(np.full((MEL_BANDS, 1), level, np.float32), frames, seconds)
