"""Accuracy of experts on degraded faces and near shifts."""

import numpy as np
import pytest

from benchmarks.expert_robustness import auc, negative_cosines, shift_box, shifted_cosines
from wav2lip.sync.expert import Embedding

WINDOWS = 20


@pytest.fixture
def one_hot():
    """An embedding whose lips match only their own audio, which starts three frames before them."""
    starts = np.arange(3, 3 + WINDOWS)
    audio = np.eye(3 + WINDOWS, dtype=np.float32)
    return Embedding(starts, audio[starts], audio)


def test_only_the_own_audio_matches(one_hot):
    assert shifted_cosines([one_hot], 0).tolist() == [1] * WINDOWS
    assert shifted_cosines([one_hot, one_hot], 1).tolist() == [0] * 2 * (WINDOWS - 1)  # the last has no later audio
    assert shifted_cosines([one_hot], -4).tolist() == [0] * (WINDOWS - 1)


def test_negatives_are_eight_frames_away_or_more(one_hot):
    negative = negative_cosines([one_hot])
    assert len(negative) == (WINDOWS - 8) * (WINDOWS - 7)  # ordered pairs of 20 with a distance of 8 to 19
    assert not negative.any()
    assert auc(shifted_cosines([one_hot], 0), negative) == 1


def test_auc_counts_ties_half():
    assert auc(np.array([0.5, 0.9]), np.array([0.5, 0.1])) == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_shift_box_moves_the_image_the_other_way():
    image = np.zeros((8, 8, 3), np.uint8)
    image[4, 5] = 255
    moved = shift_box(image, 3, 0)
    assert moved[4, 2].tolist() == [255] * 3 and moved.sum() == 3 * 255
    assert shift_box(image, 0, -2)[6, 5].tolist() == [255] * 3
