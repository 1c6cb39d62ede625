"""Sound as the networks hear it: 16 kHz mono in, mel spectrogram at 80 columns a second out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from os import PathLike

import numpy as np

from wav2lip.media import read_audio

SAMPLE_RATE = 16_000  # Hz
WINDOW = 800  # samples, 50 ms; also the length of the Fourier transform
HOP = 200  # samples, 12.5 ms
MEL_RATE = SAMPLE_RATE // HOP  # 80 columns a second
MEL_BANDS = 80
MEL_LOW, MEL_HIGH = 55.0, 7600.0  # Hz
PRE_EMPHASIS = 0.97
FLOOR_DB = -100.0
REFERENCE_DB = 20.0
MEL_LIMIT = 4.0  # mels lie in [-4, 4]
SILENCE = -MEL_LIMIT  # what digital silence gives in every band

BLOCK = 4096  # columns transformed at a time, so that hours of sound need little more memory than their mel
PIECE = 512  # columns that `mel_pieces` makes at a time: 6.4 s
MARGIN = 3  # columns at the end of a piece that are made again with what follows: half a window and pre-emphasis


def load_wav(path: str | PathLike[str]) -> np.ndarray:
    """Read the sound of any audio or video file.

    Returns: (N,) float32 mono at 16 kHz in [-1, 1]: the mean over channels, resampled by soxr (HQ), which is what
        current librosa does.
    Raises: InputError if the file cannot be read or has no sound.
    """
    blocks = list(read_audio(path, SAMPLE_RATE))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def melspectrogram(wav: np.ndarray) -> np.ndarray:
    """Mel spectrogram with the constants that the public checkpoints were trained with.

    wav: (N,) float in [-1, 1] at 16 kHz, N > 400.
    Returns: (80, 1 + N // 200) float32 in [-4, 4], lowest band first; digital silence is -4.
    Raises: ValueError if wav is not one-dimensional or too short to be reflected at its ends.

    Steps: pre-emphasis; frames of 800 samples centred on every 200th, reflected at the ends (librosa's default
    before 0.9, and the one the checkpoints know); magnitude; 80 Slaney mel bands; decibels less 20, of which
    -100..0 dB becomes -4..4.
    """
    if wav.ndim != 1 or len(wav) <= WINDOW // 2:
        raise ValueError(f"a mel spectrogram needs more than {WINDOW // 2} mono samples, got shape {wav.shape}")
    mel = np.empty((MEL_BANDS, 1 + len(wav) // HOP), np.float32)
    for first in range(0, mel.shape[1], BLOCK):
        frames = _frames(wav, first, min(first + BLOCK, mel.shape[1]))
        mel[:, first : first + len(frames)] = _mel_columns(frames)
    return mel


def mel_pieces(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The mel spectrogram of a sound that comes in blocks, piece after piece: (80, t) float32.

    blocks: (n,) float32 at 16 kHz. Sound shorter than one mel window ends in silence.
    """
    held, length, given = [np.zeros(0, np.float32)], 0, 0  # given: columns at the front of `held` that were yielded
    for block in blocks:
        held.append(block)
        length += len(block)
        if length >= (PIECE + 2 * MARGIN) * HOP:
            wav = np.concatenate(held)
            end = length // HOP - MARGIN
            yield melspectrogram(wav)[:, given:end]
            rest = wav[(end - MARGIN) * HOP :].copy()
            held, length, given = [rest], len(rest), MARGIN
    yield melspectrogram(np.pad(np.concatenate(held), (0, max(0, WINDOW - length))))[:, given:]


def _frames(wav: np.ndarray, first: int, end: int) -> np.ndarray:
    """Pre-emphasised samples under the mel columns first..end-1: (end - first, 800) float64, a view."""
    reach = WINDOW // 2
    spare = min(first, 4)  # columns more than asked for, so that there is always enough to reflect
    begin, stop = (first - spare) * HOP - reach, (end - 1) * HOP + reach  # samples; may lie outside
    inside = wav[max(begin - 1, 0) : stop].astype(np.float64)
    emphasised = inside.copy()
    emphasised[1:] -= PRE_EMPHASIS * inside[:-1]
    if begin > 0:
        emphasised = emphasised[1:]  # was there only to emphasise the next one
    padded = np.pad(emphasised, (max(0, -begin), max(0, stop - len(wav))), mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][spare:]


def _mel_columns(frames: np.ndarray) -> np.ndarray:
    """(T, 800) samples -> (80, T) normalised mel."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic Hann
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1))  # (T, 401)
    decibels = 20 * np.log10(np.maximum(1e-5, mel_basis() @ magnitude.T)) - REFERENCE_DB
    normalised = 2 * MEL_LIMIT * (decibels - FLOOR_DB) / -FLOOR_DB - MEL_LIMIT
    return np.clip(normalised, -MEL_LIMIT, MEL_LIMIT)


@cache
def mel_basis() -> np.ndarray:
    """Triangular mel filters, (80, 401) float32: Slaney's mel scale with his normalisation to equal area.

    Slaney, "Auditory Toolbox" (1998): linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 mel per factor 6.4).
    """
    edges = _mel_to_hz(np.linspace(_hz_to_mel(MEL_LOW), _hz_to_mel(MEL_HIGH), MEL_BANDS + 2))
    bins = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW  # Hz
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return (2 / (high - low) * np.maximum(0, np.minimum(rising, falling))).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else float(15 + 27 * np.log(hz / 1000) / np.log(6.4))


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
