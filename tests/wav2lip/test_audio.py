"""Mel spectrograms are the public release's."""

import numpy as np
import pytest

from tests.reference import golden
from wav2lip.audio import mel_basis, melspectrogram

WAVEFORMS = ["chirp", "silence", "clipped", "voiced", "short"]


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768


@pytest.mark.parametrize("name", WAVEFORMS)
def test_the_mel_of_a_waveform_is_the_golden_one(name):
    goldens = golden("mel")
    mel = melspectrogram(as_float(goldens[f"wav_{name}"]))
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, goldens[f"mel_{name}"], atol=1e-4, rtol=0)


def test_silence_is_exactly_the_floor():
    assert (melspectrogram(np.zeros(16_000, np.float32)) == -4).all()


def test_the_ends_are_reflected_not_padded_with_zeros():
    goldens = golden("mel")
    mel = melspectrogram(as_float(goldens["wav_chirp"]))
    assert np.abs(mel - goldens["mel_zeropad_chirp"]).max() > 0.5


def test_the_filterbank_is_the_golden_one():
    np.testing.assert_allclose(mel_basis(), golden("mel")["mel_basis"], atol=1e-7, rtol=0)


@pytest.mark.parametrize("extra", [0, 1, 199, 200, 399, 600])
def test_a_long_sound_is_the_same_in_blocks_as_in_one_piece(monkeypatch, extra):
    wav = np.random.default_rng(0).standard_normal(40 * 200 + extra) * 0.1
    whole = melspectrogram(wav)
    monkeypatch.setattr("wav2lip.audio.BLOCK", 8)  # the last block is of one column, of a few, or full
    np.testing.assert_allclose(melspectrogram(wav), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("wav", [np.zeros(400, np.float32), np.zeros((2, 16_000), np.float32)])
def test_sound_too_short_or_not_mono_is_refused(wav):
    with pytest.raises(ValueError, match="400 mono samples"):
        melspectrogram(wav)
