"""Cepstra are those that SyncNet v2 was published with."""

import numpy as np
import pytest

from tests.reference import golden
from wav2lip.mfcc import mfcc


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768


def column_by_definition(samples: np.ndarray, column: int) -> list[float]:
    """One column of cepstra, sum by sum as the textbook writes them, without any transform of a library."""
    emphasised = [samples[n] - 0.97 * (samples[n - 1] if n else 0) for n in range(len(samples))]
    window = np.array((emphasised[160 * column : 160 * column + 400] + 400 * [0.0])[:400])
    turns = np.outer(np.arange(257), np.arange(400)) / 512
    power = np.abs((window * np.exp(-2j * np.pi * turns)).sum(axis=1)) ** 2 / 512
    step = 2595 * np.log10(1 + 8000 / 700) / 27
    edges = [int(513 * 700 * (10 ** (step * i / 2595) - 1) / 16000) for i in range(28)]
    bands = np.zeros(26)
    for i, (low, centre, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bands[i] += sum(power[k] * (k - low) / (centre - low) for k in range(low, centre))
        bands[i] += sum(power[k] * (high - k) / (high - centre) for k in range(centre, high))
    cepstra = [np.log(power.sum())]
    for order in range(1, 13):
        cosines = np.cos(np.pi * order * (2 * np.arange(26) + 1) / 52)
        cepstra.append(np.sqrt(2 / 26) * (np.log(bands) * cosines).sum() * (1 + 11 * np.sin(np.pi * order / 22)))
    return cepstra


def test_the_cepstra_of_a_voice_are_the_golden_ones():
    goldens = golden("lse")
    cepstra = mfcc(as_float(goldens["mfcc_wav"]))
    assert cepstra.dtype == np.float32
    np.testing.assert_allclose(cepstra.T, goldens["mfcc"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("column", [0, 40, 112])  # the first, which has no sample before it; the last, half in silence
def test_a_column_is_what_the_definition_says(column):
    samples = golden("lse")["mfcc_wav"]
    ours = mfcc(as_float(samples))[:, column]
    np.testing.assert_allclose(ours, column_by_definition(samples.astype(float), column), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("samples", "columns"), [(1, 1), (400, 1), (401, 2), (560, 2), (561, 3), (16_000, 99)])
def test_every_sample_lies_in_a_column(samples, columns):
    assert mfcc(np.ones(samples, np.float32)).shape == (13, columns)


def test_sound_is_rounded_to_16_bits_and_cut_at_full_scale():
    exact = as_float(np.array([100, -32768, 32767, 5] * 300))
    between = exact + np.float32(0.4 / 32768)
    beyond = np.where(exact < -0.9, -1.5, np.where(exact > 0.9, 1.5, exact)).astype(np.float32)
    np.testing.assert_array_equal(mfcc(between), mfcc(exact))
    np.testing.assert_array_equal(mfcc(beyond), mfcc(exact))


def test_silence_has_the_energy_of_the_smallest_step_above_one():
    assert mfcc(np.zeros(1600, np.float32))[0] == pytest.approx(-52 * np.log(2))  # float64 counts in steps of 2 ** -52


@pytest.mark.parametrize("extra", [0, 1, 159, 160, 399])
def test_a_long_sound_is_the_same_in_blocks_as_in_one_piece(monkeypatch, extra):
    wav = np.random.default_rng(0).standard_normal(40 * 160 + extra) * 0.1
    whole = mfcc(wav)
    monkeypatch.setattr("wav2lip.mfcc.BLOCK", 8)
    np.testing.assert_allclose(mfcc(wav), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wav", [np.zeros(0), np.zeros((2, 16_000)), np.array([0.0, np.nan])])
def test_sound_that_is_empty_not_mono_or_not_a_number_is_refused(wav):
    with pytest.raises(ValueError, match="mono samples that are finite"):
        mfcc(wav)
