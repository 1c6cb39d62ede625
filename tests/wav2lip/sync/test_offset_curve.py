"""Offset curves: values, distances against upstream's, and curves of networks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import SyncNet, SyncNetV2
from tests.helpers.goldens import golden, tensor
from tests.helpers.sync import clip_faces, cosines_by_shift
from wav2lip.audio import load_wav
from wav2lip.dataset.clip import Clip, ClipWriter
from wav2lip.sync.lse import SyncNetV2Expert
from wav2lip.sync.offset_curve import SHIFTS, OffsetCurve, offset_curve, shift_audio, shifted_windows
from wav2lip.sync.syncnet_experts import SyncNetExpert


def test_curve_gives_offset_distance_and_confidence():
    # shifts -2..2: the audio fits best one frame later than recorded
    curve = OffsetCurve(np.array([9.0, 8.0, 7.0, 3.0, 10.0]))
    assert (curve.offset, curve.min_distance, curve.confidence) == (1, 3.0, 5.0)


@pytest.mark.parametrize("max_shift", [10, 15])
@pytest.mark.parametrize("block", [1, 5, 12])
def test_distances_equal_upstreams_for_any_block_size(max_shift, block):
    lips, audio = tensor(100042, (12, 1024), -1, 1), tensor(100043, (12, 1024), -1, 1)
    audio[2:] = lips[:-2] + 0.1 * audio[2:]
    pairs = zip(lips.split(block), audio.split(block), strict=True)
    windows = shift_audio(pairs, max_shift, pads_audio=True)
    distances = torch.cat([F.pairwise_distance(lips[:, None], audio) for lips, audio in windows]).numpy()
    expected = golden("lse")
    np.testing.assert_allclose(distances.T, expected[f"pdist_v{max_shift}"], rtol=1e-5)
    curve = OffsetCurve(distances.mean(axis=0))
    offset, confidence, distance = expected[f"pdist_v{max_shift}_offset_conf_dist"]
    assert curve.offset == -offset == 2
    assert (curve.confidence, curve.min_distance) == pytest.approx((confidence, distance), rel=1e-5)


class FrameNumberNetwork(nn.Module):
    """A SyncNet that decodes the frame number from growing brightness and from growing loudness."""

    resolution = 96

    def face_encoder(self, mouths):
        return self.point(mouths[:, :3].mean(dim=(1, 2, 3)) * 255)  # of the first frame

    def audio_encoder(self, mels):
        return self.point(mels[:, 0, 0, 0])

    @staticmethod
    def point(frame):
        angle = frame * np.deg2rad(4)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.mark.parametrize("lag", [-4, 0, 7])
def test_offset_curve_is_positive_for_audio_that_lags(lag, monkeypatch):
    times = np.arange(400) / 3.2 - lag  # frames, of the mel's columns
    monkeypatch.setattr("wav2lip.sync.syncnet_experts.melspectrogram", lambda wav: np.tile(times, (80, 1)))
    faces = (np.full((40, 40, 3), n, np.uint8) for n in range(120))
    curve = offset_curve(SyncNetExpert(FrameNumberNetwork()), faces, np.zeros(80_000, np.float32))
    assert curve.offset == lag
    assert curve.min_distance == pytest.approx(0, abs=0.003)  # columns are truncated


def test_offset_curve_is_the_mean_over_complete_windows(tmp_path):
    rng = np.random.default_rng(0)
    frames = [*range(40), *range(43, 90)]
    with ClipWriter(tmp_path, "a/0") as writer:
        for frame in frames:
            writer.write_frame(frame, rng.integers(0, 255, (60, 50, 3), np.uint8))
        writer.write_audio([np.clip(rng.normal(0, 0.1, 90 * 640), -1, 1).astype(np.float32)])
    clip = Clip.open(tmp_path / "a/0")
    torch.manual_seed(0)
    network = SyncNet(width=0.125).eval()
    curve = offset_curve(SyncNetExpert(network), clip_faces(clip, 96), load_wav(clip.path / "audio.wav"))
    cosines = cosines_by_shift(network, clip, SHIFTS)
    assert len(cosines) > 40
    np.testing.assert_allclose(curve.distance, 1 - cosines.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("extra", [0, 3, 40])
def test_audio_beyond_the_last_frame_is_compared_too(extra):
    torch.manual_seed(0)
    expert = SyncNetExpert(SyncNet(width=0.0625))
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 255, (96, 96, 3), np.uint8) for _ in range(70)]
    windows = list(shifted_windows(expert, faces, rng.normal(0, 0.1, (70 + extra) * 640).astype(np.float32)))
    # windows start at frames 0..65; audio windows at 0..65 + extra, and 15 of them are required on either side
    assert sum(len(lips) for lips, _ in windows) == min(65, 50 + extra) - 15 + 1
    assert all(audio.shape[1] == 31 for _, audio in windows)


def test_too_short_video_has_no_curve():
    faces = [np.zeros((40, 40, 3), np.uint8)] * 34
    expert = SyncNetExpert(SyncNet(width=0.125))
    assert offset_curve(expert, faces, np.zeros(34 * 640, np.float32)) is None
    assert offset_curve(expert, [None] * 100, np.zeros(100 * 640, np.float32)) is None
    assert offset_curve(expert, faces, np.zeros(100, np.float32)) is None
    assert offset_curve(SyncNetV2Expert(SyncNetV2().eval()), faces[:5], np.zeros(16_000, np.float32)) is None
