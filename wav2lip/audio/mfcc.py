"""MFCC for SyncNet v2, 100 columns per second.

The constants are the defaults of the python_speech_features package, with which the network was published.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import dct, rfft

from wav2lip.audio.mel import PRE_EMPHASIS, SAMPLE_RATE

WINDOW_SAMPLES = 400  # 25 ms, rectangular
HOP_SAMPLES = 160  # 10 ms
CEPSTRA_RATE = SAMPLE_RATE // HOP_SAMPLES  # 100 columns per second
FFT_SIZE = 512  # a window, zero-padded
NUM_FILTERS = 26  # equally spaced in mel between 0 Hz and half the sample rate
NUM_CEPSTRA = 13
LIFTER = 22
FULL_SCALE = 32768  # samples are scaled to 16 bits
MIN_ENERGY = np.finfo(np.float64).eps  # replaces an energy of 0 before the logarithm

BLOCK_COLUMNS = 4096  # per block, which bounds the memory of intermediate results


def mfcc(wav: np.ndarray) -> np.ndarray:
    """Compute MFCC, with the logarithm of the energy as the first coefficient.

    wav: (N,) float in [-1, 1] at 16 kHz, N > 0; rounded to 16-bit samples.
    Returns: (13, T) float32, T = 1 + max(0, ceil((N - 400) / 160)); column t begins at sample 160 t; the end is
        padded with silence.
    Raises: ValueError if wav is empty, not one-dimensional or not finite.
    """
    if wav.ndim != 1 or not len(wav) or not np.isfinite(wav).all():
        raise ValueError(f"wav: must have at least one mono sample, all finite, got shape {wav.shape}")
    columns = 1 + max(0, -(-(len(wav) - WINDOW_SAMPLES) // HOP_SAMPLES))
    cepstra = np.empty((NUM_CEPSTRA, columns), np.float32)
    for first in range(0, columns, BLOCK_COLUMNS):
        end = min(first + BLOCK_COLUMNS, columns)
        cepstra[:, first:end] = _cepstra(_windows(wav, first, end)).T
    return cepstra


def _windows(wav: np.ndarray, first: int, end: int) -> np.ndarray:
    """Return the pre-emphasized 16-bit samples of the columns first..end-1: (end - first, 400) float64, a view."""
    begin, stop = first * HOP_SAMPLES, (end - 1) * HOP_SAMPLES + WINDOW_SAMPLES
    before = min(begin, 1)  # the first sample of the audio is not emphasized
    samples = np.clip(np.rint(wav[begin - before : stop] * float(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1)
    emphasized = samples.astype(np.float64)
    emphasized[1:] -= PRE_EMPHASIS * emphasized[:-1]
    inside = emphasized[before:]
    padded = np.pad(inside, (0, stop - begin - len(inside)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]


def _cepstra(windows: np.ndarray) -> np.ndarray:
    """Convert (T, 400) samples to (T, 13) cepstra."""
    power = np.abs(rfft(windows, FFT_SIZE, axis=1)) ** 2 / FFT_SIZE  # (T, 257)
    bands = np.log(_nonzero(power @ _filters().T))  # (T, 26)
    cepstra = dct(bands, type=2, axis=1, norm="ortho")[:, :NUM_CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(NUM_CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(_nonzero(power.sum(axis=1)))
    return cepstra


def _nonzero(energy: np.ndarray) -> np.ndarray:
    return np.where(energy == 0, MIN_ENERGY, energy)


@cache
def _filters() -> np.ndarray:
    """Return triangular filters with peak 1 between whole bins of the FFT, (26, 257) float64.

    The mel scale is O'Shaughnessy's, 2595 lg(1 + f / 700 Hz).
    """
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), NUM_FILTERS + 2)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    edges = np.floor((FFT_SIZE + 1) * hertz / SAMPLE_RATE)
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(FFT_SIZE // 2 + 1)
    return np.maximum(0, np.minimum((bins - low) / (center - low), (high - bins) / (high - center)))
