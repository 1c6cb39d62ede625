"""Scores of sync, against values worked by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models import SyncNet
from wav2lip.metrics import agreement_by_shift, roc_auc, sync_loss_of


def test_roc_auc_by_hand():
    # pairs (0.9, 0.8), (0.9, 0.4), (0.3, 0.8), (0.3, 0.4): two of four in order
    assert roc_auc(np.array([0.9, 0.3, 0.8, 0.4]), np.array([True, True, False, False])) == 0.5
    assert roc_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5  # a tie counts half
    assert np.isnan(roc_auc(np.array([0.5, 0.6]), np.array([True, True])))


def test_sync_loss_of_agreement_by_hand():
    assert sync_loss_of(np.array([1.0, np.exp(-2.0)])) == pytest.approx(1.0)
    assert sync_loss_of(np.array([0.0])) == 100


def angle(frame):
    """Unit vectors that turn by 1.5 degrees a frame, so that their cosine says how many frames they are apart."""
    turned = torch.deg2rad(1.5 * frame)
    return torch.stack([turned.cos(), turned.sin()], dim=1)[..., None, None]


class Clock:
    """An expert that reads the time off clips whose pictures and sounds show it."""

    resolution = 96

    @staticmethod
    def face_encoder(mouths):  # brightness is twice the frame number; a window's mean is that of its third frame
        return angle(mouths.mean(dim=(1, 2, 3)) * 255 / 2 - 2)

    @staticmethod
    def audio_encoder(mel):  # each column holds its own number; a window's mean is 7.5 columns after its first
        return angle((mel.mean(dim=(1, 2, 3)) - 7.5) / 3.2)


@pytest.mark.parametrize("late", [-6, 0, 4])
def test_sound_that_is_late_by_some_frames_agrees_most_when_moved_by_them(late):
    columns = np.arange(320, dtype=np.float32) - late * 3.2
    clip = SimpleNamespace(
        frames=np.array([n for n in range(100) if n != 50]),
        read=lambda n, size: np.full((size, size, 3), 2 * n, np.uint8),
        mel=lambda: np.broadcast_to(columns, (80, 320)),
    )
    agreement = agreement_by_shift(Clock, clip, range(-15, 16))
    # windows of five begin at 0..45 and 51..95; sound at -15..+15 frames must be there: 15..45 and 51..80
    assert agreement.shape == (31 + 30, 31)
    assert agreement.mean(axis=0).argmax() - 15 == late


def test_a_clip_without_a_whole_window_has_no_scores():
    clip = SimpleNamespace(frames=np.array([0, 2, 4]), mel=lambda: np.zeros((80, 320), np.float32))
    assert agreement_by_shift(SyncNet(width=0.0625).eval(), clip, [0]).shape == (0, 1)
