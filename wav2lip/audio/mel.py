"""Mel spectrograms for the networks: 16 kHz mono audio to 80 columns per second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from os import PathLike
from typing import Literal

import numpy as np

from wav2lip.media import read_audio

SAMPLE_RATE = 16_000  # Hz
WINDOW_SAMPLES = 800  # 50 ms; also the length of the FFT
HOP_SAMPLES = 200  # 12.5 ms
MEL_RATE = SAMPLE_RATE // HOP_SAMPLES  # 80 columns per second
MEL_BANDS = 80
MIN_HZ, MAX_HZ = 55.0, 7600.0
PRE_EMPHASIS = 0.97
MIN_DB = -100.0
REFERENCE_DB = 20.0
MEL_LIMIT = 4.0  # the range is [-4, 4]
SILENT_MEL = -MEL_LIMIT  # value of every band in digital silence

BLOCK_COLUMNS = 4096  # per block, which bounds the memory of intermediate results
PIECE_COLUMNS = 512  # per piece of `stream_mel`: 6.4 s
MARGIN_COLUMNS = 3  # half a window and pre-emphasis: columns computed again with the next piece


def load_wav(path: str | PathLike[str]) -> np.ndarray:
    """Load the audio of any audio or video file.

    Returns: (N,) float32 mono at 16 kHz in [-1, 1]: the mean over channels, resampled by soxr (HQ) as in librosa.
    Raises: InputError if the file cannot be read or has no audio.
    """
    blocks = list(read_audio(path, SAMPLE_RATE))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def melspectrogram(wav: np.ndarray, padding: Literal["reflect", "constant"] = "reflect") -> np.ndarray:
    """Compute the mel spectrogram that the published checkpoints were trained with.

    wav: (N,) float in [-1, 1] at 16 kHz, N > 400.
    padding: of the ends; "constant" for zeros, as librosa 0.9 and newer.
    Returns: (80, 1 + N // 200) float32 in [-4, 4], lowest band first; digital silence is -4.
    Raises: ValueError if wav is not one-dimensional or too short for reflection at its ends.

    Steps: pre-emphasis; frames of 800 samples centered on every 200th sample, with reflection at the ends (librosa's
    default before 0.9); magnitude; 80 Slaney mel bands; decibels minus 20; -100..0 dB mapped to -4..4.
    """
    if wav.ndim != 1 or len(wav) <= WINDOW_SAMPLES // 2:
        raise ValueError(f"wav: must have more than {WINDOW_SAMPLES // 2} mono samples, got shape {wav.shape}")
    mel = np.empty((MEL_BANDS, 1 + len(wav) // HOP_SAMPLES), np.float32)
    for first in range(0, mel.shape[1], BLOCK_COLUMNS):
        frames = _frames(wav, first, min(first + BLOCK_COLUMNS, mel.shape[1]), padding)
        mel[:, first : first + len(frames)] = _mel_columns(frames)
    return mel


class IncrementalMel:
    """Mel spectrogram of audio that arrives in blocks: the columns of `melspectrogram`, each as soon as it is final."""

    def __init__(self) -> None:
        self._wav = np.zeros(0, np.float32)  # from MARGIN_COLUMNS before the first column not returned
        self._done = 0  # columns at the start of `_wav` that were returned

    def push(self, block: np.ndarray) -> np.ndarray:
        """Return the next columns (80, t) float32, t >= 0: those whose 50 ms of samples are complete.

        block: (n,) float32 at 16 kHz.
        """
        self._wav = np.concatenate([self._wav, block])
        end = (len(self._wav) - WINDOW_SAMPLES // 2) // HOP_SAMPLES + 1
        if end <= self._done or len(self._wav) < WINDOW_SAMPLES:
            return np.zeros((MEL_BANDS, 0), np.float32)
        columns = melspectrogram(self._wav)[:, self._done : end]
        drop = max(0, end - MARGIN_COLUMNS)
        self._wav, self._done = self._wav[drop * HOP_SAMPLES :].copy(), end - drop
        return columns

    def finish(self) -> np.ndarray:
        """Return the last columns (80, t); audio shorter than one mel window is padded with silence."""
        missing = max(0, WINDOW_SAMPLES - len(self._wav))
        return melspectrogram(np.pad(self._wav, (0, missing)))[:, self._done :]


def stream_mel(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Compute the mel spectrogram of a stream of audio blocks, in pieces (80, t) float32.

    blocks: (n,) float32 at 16 kHz. Audio shorter than one mel window is padded with silence.
    """
    mel = IncrementalMel()
    waiting: list[np.ndarray] = []  # small blocks are joined, as each call recomputes the margin
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= PIECE_COLUMNS * HOP_SAMPLES:
            yield mel.push(np.concatenate(waiting))
            waiting = []
    if waiting:
        yield mel.push(np.concatenate(waiting))
    yield mel.finish()


def _frames(wav: np.ndarray, first: int, end: int, padding: Literal["reflect", "constant"]) -> np.ndarray:
    """Return the pre-emphasized samples of the mel columns first..end-1: (end - first, 800) float64, a view."""
    half = WINDOW_SAMPLES // 2
    spare = min(first, 4)  # additional columns, so that the reflection has enough samples
    begin, stop = (first - spare) * HOP_SAMPLES - half, (end - 1) * HOP_SAMPLES + half  # samples; may be outside
    inside = wav[max(begin - 1, 0) : stop].astype(np.float64)
    emphasized = inside.copy()
    emphasized[1:] -= PRE_EMPHASIS * inside[:-1]
    if begin > 0:
        emphasized = emphasized[1:]  # only needed for the pre-emphasis of the next one
    padded = np.pad(emphasized, (max(0, -begin), max(0, stop - len(wav))), mode=padding)
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES][spare:]


def _mel_columns(frames: np.ndarray) -> np.ndarray:
    """Convert (T, 800) samples to (80, T) normalized mel."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)  # periodic Hann
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1))  # (T, 401)
    decibels = 20 * np.log10(np.maximum(1e-5, mel_basis() @ magnitude.T)) - REFERENCE_DB
    normalized = 2 * MEL_LIMIT * (decibels - MIN_DB) / -MIN_DB - MEL_LIMIT
    return np.clip(normalized, -MEL_LIMIT, MEL_LIMIT)


@cache
def mel_basis() -> np.ndarray:
    """Return triangular mel filters (80, 401) float32: Slaney's mel scale, normalized to equal area.

    Slaney, "Auditory Toolbox" (1998): linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 mel per factor 6.4).
    """
    edges = _mel_to_hz(np.linspace(_hz_to_mel(MIN_HZ), _hz_to_mel(MAX_HZ), MEL_BANDS + 2))
    bins = np.arange(WINDOW_SAMPLES // 2 + 1) * SAMPLE_RATE / WINDOW_SAMPLES  # Hz
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (center - low)
    falling = (high - bins) / (high - center)
    return (2 / (high - low) * np.maximum(0, np.minimum(rising, falling))).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else float(15 + 27 * np.log(hz / 1000) / np.log(6.4))


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
