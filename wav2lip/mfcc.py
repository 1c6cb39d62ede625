"""Sound as SyncNet v2 hears it: mel-frequency cepstra, 100 columns a second.

The constants are the defaults of the python_speech_features package, which the network was published with.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import dct, rfft

from wav2lip.audio import PRE_EMPHASIS, SAMPLE_RATE

WINDOW = 400  # samples, 25 ms, rectangular
HOP = 160  # samples, 10 ms
CEPSTRA_RATE = SAMPLE_RATE // HOP  # 100 columns a second
FOURIER = 512  # length of the transform: a window and zeros
FILTERS = 26  # triangles, equally spaced in mel between 0 Hz and half the sample rate
CEPSTRA = 13
LIFTER = 22
FULL_SCALE = 32768  # the cepstra are those of 16-bit samples
NOTHING = np.finfo(np.float64).eps  # stands for an energy of 0, whose logarithm there is not

BLOCK = 4096  # columns transformed at a time, so that hours of sound need little more memory than their cepstra


def mfcc(wav: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstra, the first of which is replaced by the logarithm of the energy.

    wav: (N,) float in [-1, 1] at 16 kHz, N > 0; rounded to 16-bit samples.
    Returns: (13, T) float32, T = 1 + max(0, ceil((N - 400) / 160)); column t begins at sample 160 t, and silence
        follows the end.
    Raises: ValueError if wav is empty, not one-dimensional or not finite.
    """
    if wav.ndim != 1 or not len(wav) or not np.isfinite(wav).all():
        raise ValueError(f"cepstra need mono samples that are finite numbers, at least one, got shape {wav.shape}")
    columns = 1 + max(0, -(-(len(wav) - WINDOW) // HOP))
    cepstra = np.empty((CEPSTRA, columns), np.float32)
    for first in range(0, columns, BLOCK):
        end = min(first + BLOCK, columns)
        cepstra[:, first:end] = _cepstra(_windows(wav, first, end)).T
    return cepstra


def _windows(wav: np.ndarray, first: int, end: int) -> np.ndarray:
    """Pre-emphasised 16-bit samples under the columns first..end-1: (end - first, 400) float64, a view."""
    begin, stop = first * HOP, (end - 1) * HOP + WINDOW
    before = min(begin, 1)  # the very first sample has none before it and stays as it is
    samples = np.clip(np.rint(wav[begin - before : stop] * float(FULL_SCALE)), -FULL_SCALE, FULL_SCALE - 1)
    emphasised = samples.astype(np.float64)
    emphasised[1:] -= PRE_EMPHASIS * emphasised[:-1]
    inside = emphasised[before:]
    padded = np.pad(inside, (0, stop - begin - len(inside)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _cepstra(windows: np.ndarray) -> np.ndarray:
    """(T, 400) samples -> (T, 13) cepstra."""
    power = np.abs(rfft(windows, FOURIER, axis=1)) ** 2 / FOURIER  # (T, 257)
    bands = np.log(_above_nothing(power @ _filters().T))  # (T, 26)
    cepstra = dct(bands, type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(_above_nothing(power.sum(axis=1)))
    return cepstra


def _above_nothing(energy: np.ndarray) -> np.ndarray:
    return np.where(energy == 0, NOTHING, energy)


@cache
def _filters() -> np.ndarray:
    """Triangles that rise from 0 to 1 and fall again between whole bins of the transform, (26, 257) float64.

    The mel scale is O'Shaughnessy's, 2595 lg(1 + f / 700 Hz).
    """
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    edges = np.floor((FOURIER + 1) * hertz / SAMPLE_RATE)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(FOURIER // 2 + 1)
    return np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
