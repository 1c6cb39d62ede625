"""Similarity curves and offset estimates from synthetic embeddings."""

import numpy as np
import pytest

from wav2lip.sync.expert import Embedding
from wav2lip.sync.offset import estimate_offset, similarity_curves

RNG = np.random.default_rng(0)
NEGATIVES = [RNG.normal(size=(200, 64)).astype(np.float32) for _ in range(4)]
NEGATIVES_80 = [RNG.normal(size=(200, 80)).astype(np.float32) for _ in range(4)]


def make_embedding(frames, lag=0, noise=0.0, seed=1):
    """Lips and audio with a vector for each frame, the audio `lag` frames behind."""
    rng = np.random.default_rng(seed)
    moments = rng.normal(size=(frames + 40, 64)).astype(np.float32)
    lips = moments[20 : 20 + frames - 4]
    audio = moments[20 - lag : 20 - lag + frames]
    return Embedding(np.arange(frames - 4), lips + noise * rng.normal(size=lips.shape).astype(np.float32), audio)


@pytest.mark.parametrize("lag", [-12, -3, 0, 1, 7, 14])
def test_offset_is_the_lag_of_the_audio(lag):
    estimate = estimate_offset(make_embedding(100, lag, noise=1.0), NEGATIVES)
    assert estimate.offset == lag
    assert estimate.confidence > 10
    assert not estimate.at_edge


def test_audio_of_another_clip_has_no_confidence():
    clip, different = make_embedding(100, seed=1), make_embedding(100, seed=2)
    assert estimate_offset(Embedding(clip.starts, clip.lips, different.audio), NEGATIVES).confidence < 4


def test_larger_lag_than_max_shift_is_at_edge():
    moments = np.repeat(RNG.normal(size=(20, 64)), 8, axis=0).astype(np.float32)  # equal over 8 frames
    estimate = estimate_offset(Embedding(np.arange(100), moments[20:120], moments[:100]), NEGATIVES)
    assert estimate.offset == 15
    assert estimate.at_edge


def test_similarity_of_identity_vectors():
    lips = np.eye(30, dtype=np.float32)
    curve = similarity_curves(np.arange(30), lips, np.roll(lips, 2, axis=0), max_shift=3)[0]
    assert curve.tolist() == pytest.approx([0, 0, 0, 0, 0, 1, 0])  # audio lags by 2 frames


def test_shifts_with_few_windows_are_nan():
    lips = np.eye(22, dtype=np.float32)
    curve = similarity_curves(np.arange(22), lips, lips, max_shift=3)[0]
    assert np.isnan(curve).tolist() == [True, False, False, False, False, False, True]


def test_missing_frames_keep_the_offset():
    embedding = make_embedding(150, lag=5)
    frames = np.r_[0:40, 60:90, 100:140]
    present = Embedding(embedding.starts[frames], embedding.lips[frames], embedding.audio)
    assert estimate_offset(present, NEGATIVES).offset == 5


def test_peak_is_interpolated_between_frames():
    def peaks_at(times):
        return np.exp(-0.5 * ((times[:, None] - np.arange(-20, 140, 2)) / 2) ** 2).astype(np.float32)

    embedding = Embedding(np.arange(100), peaks_at(np.arange(100.0)), peaks_at(np.arange(100) - 3.5))
    estimate = estimate_offset(embedding, NEGATIVES_80)
    assert estimate.peak == pytest.approx(3.5, abs=0.1)


def test_short_clip_has_no_estimate():
    assert estimate_offset(make_embedding(30), NEGATIVES) is None


def test_estimate_requires_negatives():
    assert estimate_offset(make_embedding(100), []) is None
