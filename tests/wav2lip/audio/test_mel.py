"""Mel spectrograms against upstream."""

import numpy as np
import pytest

from tests.helpers.goldens import golden
from wav2lip.audio.mel import mel_basis, melspectrogram

WAVEFORMS = ["chirp", "silence", "clipped", "voiced", "short"]


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768


@pytest.mark.parametrize("name", WAVEFORMS)
def test_mel_equals_golden(name):
    goldens = golden("mel")
    mel = melspectrogram(as_float(goldens[f"wav_{name}"]))
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, goldens[f"mel_{name}"], atol=1e-4, rtol=0)


def test_silence_is_the_minimum():
    assert (melspectrogram(np.zeros(16_000, np.float32)) == -4).all()


def test_ends_are_reflected_not_zero_padded():
    goldens = golden("mel")
    mel = melspectrogram(as_float(goldens["wav_chirp"]))
    assert np.abs(mel - goldens["mel_zeropad_chirp"]).max() > 0.5


def test_mel_basis_equals_golden():
    np.testing.assert_allclose(mel_basis(), golden("mel")["mel_basis"], atol=1e-7, rtol=0)


@pytest.mark.parametrize("extra", [0, 1, 199, 200, 399, 600])
def test_mel_does_not_depend_on_block_size(monkeypatch, extra):
    wav = np.random.default_rng(0).standard_normal(40 * 200 + extra) * 0.1
    expected = melspectrogram(wav)
    monkeypatch.setattr("wav2lip.audio.mel.BLOCK_COLUMNS", 8)  # the last block has one, a few, or all columns
    np.testing.assert_allclose(melspectrogram(wav), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("wav", [np.zeros(400, np.float32), np.zeros((2, 16_000), np.float32)])
def test_short_or_stereo_audio_is_rejected(wav):
    with pytest.raises(ValueError, match="wav.*400"):
        melspectrogram(wav)
