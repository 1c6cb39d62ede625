"""MFCC against the ones SyncNet v2 was published with."""

import numpy as np
import pytest

from tests.helpers.goldens import golden
from wav2lip.audio.mfcc import mfcc


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768


def column_by_definition(samples: np.ndarray, column: int) -> list[float]:
    """Compute one column from the textbook definition, without FFT or DCT."""
    emphasized = [samples[n] - 0.97 * (samples[n - 1] if n else 0) for n in range(len(samples))]
    window = np.array((emphasized[160 * column : 160 * column + 400] + 400 * [0.0])[:400])
    cycles = np.outer(np.arange(257), np.arange(400)) / 512
    power = np.abs((window * np.exp(-2j * np.pi * cycles)).sum(axis=1)) ** 2 / 512
    step = 2595 * np.log10(1 + 8000 / 700) / 27
    edges = [int(513 * 700 * (10 ** (step * i / 2595) - 1) / 16000) for i in range(28)]
    bands = np.zeros(26)
    for i, (low, center, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bands[i] += sum(power[k] * (k - low) / (center - low) for k in range(low, center))
        bands[i] += sum(power[k] * (high - k) / (high - center) for k in range(center, high))
    cepstra = [np.log(power.sum())]
    for order in range(1, 13):
        cosines = np.cos(np.pi * order * (2 * np.arange(26) + 1) / 52)
        cepstra.append(np.sqrt(2 / 26) * (np.log(bands) * cosines).sum() * (1 + 11 * np.sin(np.pi * order / 22)))
    return cepstra


def test_mfcc_equals_golden():
    goldens = golden("lse")
    cepstra = mfcc(as_float(goldens["mfcc_wav"]))
    assert cepstra.dtype == np.float32
    np.testing.assert_allclose(cepstra.T, goldens["mfcc"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("column", [0, 40, 112])  # the first has no preceding sample; the last is half padding
def test_column_equals_definition(column):
    samples = golden("lse")["mfcc_wav"]
    actual = mfcc(as_float(samples))[:, column]
    np.testing.assert_allclose(actual, column_by_definition(samples.astype(float), column), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("samples", "columns"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (16_000, 99)])
def test_columns_cover_all_samples(samples, columns):
    assert mfcc(np.ones(samples, np.float32)).shape == (13, columns)


def test_audio_is_rounded_to_16_bits_and_clipped():
    exact = as_float(np.array([100, -32768, 32767, 5] * 300))
    unrounded = exact + np.float32(0.4 / 32768)
    out_of_range = np.where(exact < -0.9, -1.5, np.where(exact > 0.9, 1.5, exact)).astype(np.float32)
    np.testing.assert_array_equal(mfcc(unrounded), mfcc(exact))
    np.testing.assert_array_equal(mfcc(out_of_range), mfcc(exact))


def test_silence_has_the_energy_of_float64_epsilon():
    assert mfcc(np.zeros(1600, np.float32))[0] == pytest.approx(-52 * np.log(2))  # epsilon of float64


@pytest.mark.parametrize("extra", [0, 1, 159, 160, 399])
def test_mfcc_does_not_depend_on_block_size(monkeypatch, extra):
    wav = np.random.default_rng(0).standard_normal(40 * 160 + extra) * 0.1
    expected = mfcc(wav)
    monkeypatch.setattr("wav2lip.audio.mfcc.BLOCK_COLUMNS", 8)
    np.testing.assert_allclose(mfcc(wav), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wav", [np.zeros(0), np.zeros((2, 16_000)), np.array([0.0, np.nan])])
def test_empty_stereo_or_non_finite_audio_is_rejected(wav):
    with pytest.raises(ValueError, match="wav.*finite"):
        mfcc(wav)
