"""The expert's curve is that of its windows one by one, whatever the length; offsets have the sign that is stated."""

import numpy as np
import pytest
import torch
from torch import nn

from models import SyncNet, SyncNetV2
from wav2lip.audio import load_wav
from wav2lip.clips import Clip, ClipWriter
from wav2lip.evaluation.metrics.sync import OF_EXPERT, OF_SYNCNET_V2, curve_of_expert, curve_of_syncnet_v2, scores_of
from wav2lip.lse import lse
from wav2lip.metrics import agreement_by_shift
from wav2lip.shift_curve import SHIFTS, ShiftCurve


def test_a_curve_gives_its_least_its_depth_its_place_and_whether_that_is_near():
    distance = np.full(31, 0.9)
    distance[[13, 20]] = [0.4, 0.3]  # shifts -2 and 5
    assert scores_of(ShiftCurve(distance), OF_EXPERT).values == {
        "expert_distance": 0.3, "expert_confidence": pytest.approx(0.6), "expert_offset": 5, "expert_within_1": 0,
    }  # fmt: skip
    distance[20], distance[14] = 0.9, 0.2
    assert scores_of(ShiftCurve(distance), OF_EXPERT).values["expert_within_1"] == 1


def test_the_curve_of_an_expert_is_the_mean_over_the_windows_of_a_clip(tmp_path):
    rng = np.random.default_rng(0)
    frames = [*range(40), *range(43, 90)]
    with ClipWriter(tmp_path, "a/0") as writer:
        for frame in frames:
            writer.write_frame(frame, rng.integers(0, 255, (60, 50, 3), np.uint8))
        writer.write_audio([np.clip(rng.normal(0, 0.1, 90 * 640), -1, 1).astype(np.float32)])
    clip = Clip.open(tmp_path / "a/0")
    torch.manual_seed(0)
    network = SyncNet(width=0.125).eval()
    faces = (clip.read(n, 96) if n in frames else None for n in range(90))
    curve = curve_of_expert(network, faces, load_wav(clip.path / "audio.wav"))
    assert curve is not None
    agreement = agreement_by_shift(network, clip, SHIFTS)
    assert len(agreement) > 40
    np.testing.assert_allclose(curve.distance, 1 - agreement.mean(axis=0), atol=1e-5)


class Clock(nn.Module):
    """An expert that reads the time off pictures of growing brightness and off sound of growing loudness."""

    resolution = 96

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def face_encoder(self, mouths):
        return self.point(mouths[:, :3].mean(dim=(1, 2, 3)) * 255)  # of the first frame

    def audio_encoder(self, mels):
        return self.point(mels[:, 0, 0, 0])

    @staticmethod
    def point(frame):
        angle = frame * np.deg2rad(4)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.mark.parametrize("late", [-4, 0, 7])
def test_sound_that_lies_after_the_lips_has_a_positive_offset(late, monkeypatch):
    times = np.arange(400) / 3.2 - late  # frames, of the mel's columns
    monkeypatch.setattr("wav2lip.evaluation.metrics.sync.melspectrogram", lambda wav: np.tile(times, (80, 1)))
    faces = (np.full((40, 40, 3), n, np.uint8) for n in range(120))
    curve = curve_of_expert(Clock(), faces, np.zeros(80_000, np.float32))
    assert curve is not None
    assert curve.offset == late
    assert curve.least == pytest.approx(0, abs=0.003)  # columns are cut down


def test_what_is_too_short_has_no_curve():
    faces = [np.zeros((40, 40, 3), np.uint8)] * 34
    network = SyncNet(width=0.125).eval()
    assert curve_of_expert(network, faces, np.zeros(34 * 640, np.float32)) is None
    assert curve_of_expert(network, [None] * 100, np.zeros(100 * 640, np.float32)) is None
    assert curve_of_expert(network, faces, np.zeros(100, np.float32)) is None


def test_the_scores_of_syncnet_v2_are_lses_with_the_sign_of_the_offset_turned():
    distance = np.random.default_rng(0).uniform(6, 9, 31)
    public, found = lse(distance), scores_of(ShiftCurve(distance), OF_SYNCNET_V2).values
    assert (found["lse_d"], found["lse_c"]) == pytest.approx((public.distance, public.confidence))
    assert found["lse_offset"] == -public.offset


def test_what_is_too_short_for_syncnet_v2_has_no_curve():
    assert curve_of_syncnet_v2(SyncNetV2(), [np.zeros((40, 40, 3), np.uint8)] * 5, np.zeros(16_000, np.float32)) is None
