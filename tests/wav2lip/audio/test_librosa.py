"""Resampling and mel spectrograms against librosa, on random signals at the rates that files have."""

import numpy as np
import pytest

from tests.helpers.media import write_wav
from wav2lip.audio.mel import load_wav, melspectrogram

librosa = pytest.importorskip("librosa", reason="librosa is in the extra test")

SIGNALS, SAMPLE_RATE = 200, 16_000
RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def random_signal(rng: np.random.Generator, rate: int) -> np.ndarray:
    """Chirps, noise and a pause: (n,) float32 of 0.1 to 0.3 s, exact in 16 bits."""
    seconds = rng.uniform(0.1, 0.3)
    t = np.arange(round(seconds * rate)) / rate
    start, slope = rng.uniform(60, 3000), rng.uniform(-2000, 8000)
    wav = rng.uniform(0.05, 0.6) * np.sin(2 * np.pi * (start + slope * t / 2) * t)
    wav += rng.uniform(0, 0.2) * rng.standard_normal(len(t))
    wav[len(t) // 3 : len(t) // 3 + int(rng.integers(len(t) // 3))] = 0
    return np.round(np.clip(wav, -1, 32767 / 32768) * 32768).astype(np.float32) / 32768


def librosa_mel(wav: np.ndarray) -> np.ndarray:
    """Compute the mel spectrogram of upstream's audio.py by librosa's functions."""
    emphasized = np.append(wav[0], wav[1:] - 0.97 * wav[:-1])
    magnitude = np.abs(librosa.stft(emphasized, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect"))
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=800, n_mels=80, fmin=55, fmax=7600) @ magnitude
    decibels = 20 * np.log10(np.maximum(1e-5, bands)) - 20
    return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)


def test_resampling_and_mel_equal_librosa(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "signal.wav"
    rates = [RATES[n] if n < len(RATES) else int(rng.integers(8000, 48_001)) for n in range(SIGNALS)]
    for rate in rates:
        signal = random_signal(rng, rate)
        write_wav(path, signal * (32768 / 32767), rate)  # the writer scales by 32767
        wav = load_wav(path)
        expected = librosa.resample(signal, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
        assert abs(len(wav) - len(expected)) <= 1, rate
        samples = min(len(wav), len(expected))
        np.testing.assert_allclose(wav[:samples], expected[:samples], atol=1e-5, err_msg=f"{rate} Hz")
        np.testing.assert_allclose(melspectrogram(wav), librosa_mel(wav), atol=1e-3, err_msg=f"{rate} Hz")
