"""LSE-D and LSE-C equal upstream's, at any length; unusable files raise an error."""

import tarfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from models import SyncNet, SyncNetV2
from tests.helpers.goldens import golden, weights
from tests.helpers.sync import clip_faces
from wav2lip.audio import load_wav
from wav2lip.audio.mfcc import mfcc
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import AUDIO, Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.sync.lse import SyncNetV2Expert, load_syncnet_v2
from wav2lip.sync.offset_curve import offset_curve

FRAMES = 100
TURN_RAD = np.deg2rad(8)  # per frame
GROWTH = 0.04  # of the logarithm of the audio's amplitude, per frame


def test_evaluation_equals_upstreams(tmp_path):
    torch.save(weights("syncnet_v2"), tmp_path / "syncnet_v2.model")
    expert = SyncNetV2Expert(load_syncnet_v2(tmp_path / "syncnet_v2.model"))
    y, x, channel = np.mgrid[:112, :96, :3]
    bgr = [((3 * y + 2 * x + 70 * channel + 29 * t) % 256).astype(np.uint8) for t in range(28)]
    wav = golden("lse")["mfcc_wav"].astype(np.float32) / 32768
    curve = offset_curve(expert, (frame[..., ::-1] for frame in bgr), wav)
    offset, confidence, distance = golden("lse")["evaluate_offset_conf_dist"]
    assert curve.offset == -offset
    assert (curve.confidence, curve.min_distance) == pytest.approx((confidence, distance), rel=1e-3)


def growing_audio(lag: float = 0) -> np.ndarray:
    """Audio whose loudness encodes the frame, `lag` frames behind the video."""
    n = np.arange(FRAMES * 640)
    return (0.01 * (-1.0) ** n * np.exp(GROWTH * (n / 640 - lag))).astype(np.float32)


def frame_image(number: int) -> np.ndarray:
    """A frame whose brightness encodes its number."""
    return np.full((32, 24, 3), 2 * number, np.uint8)


class FrameNumberNetwork(nn.Module):
    """A network that decodes the frame number from such images and audio, as an angle on the unit circle."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(TURN_RAD, dtype=torch.float32))
        self.first_loudness = mfcc(growing_audio())[0, :20].mean()  # loudness of the first window
        self.max_frames = 0  # most frames per forward pass

    def embed_lips(self, frames):
        self.max_frames = max(self.max_frames, frames.shape[2])
        return self.point(frames.mean(dim=(1, 3, 4)).unfold(1, 5, 1).mean(dim=-1) / 2 - 2)

    def embed_audio(self, cepstra):
        return self.point((cepstra[:, 0, 0].mean(dim=-1) - self.first_loudness) / (2 * GROWTH))

    def point(self, frame):
        angle = self.scale * frame
        return nn.functional.pad(torch.stack([angle.cos(), angle.sin()], dim=-1), (0, 1022))


@pytest.fixture(scope="module")
def expert():
    return SyncNetV2Expert(FrameNumberNetwork().requires_grad_(False))


@pytest.mark.parametrize("lag", [-6, 0, 4])
def test_offset_is_the_lag_of_the_audio(expert, lag):
    assert offset_curve(expert, map(frame_image, range(FRAMES)), growing_audio(lag)).offset == lag


def expected_curve(windows: int, missing: set[int]) -> list[float]:
    """Chords of the unit circle; audio before the first window and after the last is zero, at distance 1."""
    curve = []
    for shift in range(-15, 16):
        chord = 2 * abs(np.sin(shift * TURN_RAD / 2))
        present = [v for v in range(windows) if not missing & set(range(v, v + 5))]
        curve.append(np.mean([chord if 0 <= v + shift < windows else 1.0 for v in present]))
    return curve


@pytest.mark.parametrize(("frames", "missing"), [(FRAMES, set()), (FRAMES, {0, 37, 38}), (31, {30}), (6, set())])
def test_windows_are_one_fewer_and_skip_missing_frames(expert, frames, missing):
    faces = (None if n in missing else frame_image(n) for n in range(frames))
    curve = offset_curve(expert, faces, growing_audio())
    np.testing.assert_allclose(curve.distance, expected_curve(frames - 5, missing), atol=5e-3)


def test_frames_without_complete_audio_are_skipped(expert):
    curve = offset_curve(expert, map(frame_image, range(FRAMES)), growing_audio()[: 50 * 640 + 639])
    np.testing.assert_allclose(curve.distance, expected_curve(45, set()), atol=5e-3)


def test_memory_is_bounded_for_long_videos(expert):
    offset_curve(expert, map(frame_image, range(FRAMES)), growing_audio())
    assert expert.network.max_frames == 24


def test_five_frames_are_too_few(expert):
    assert offset_curve(expert, map(frame_image, range(5)), growing_audio()) is None


def write_clip(root, numbers, wav):
    with ClipWriter(root, "group/clip") as clip:
        for number in numbers:
            clip.write_frame(number, frame_image(number))
        clip.write_audio([wav])
    return Clip.open(root / "group/clip")


def test_clip_is_scored_from_its_crops_and_audio(expert, tmp_path):
    clip = write_clip(tmp_path, [n for n in range(FRAMES) if n not in (0, 37, 38)], growing_audio())
    curve = offset_curve(expert, clip_faces(clip, 224), load_wav(clip.path / AUDIO))
    np.testing.assert_allclose(curve.distance, expected_curve(FRAMES - 5, {0, 37, 38}), atol=5e-3)


class Torch03Tensor:
    """Pickles as a tensor did in torch 0.3, the year of the published file."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        parts = (self.tensor.storage(), 0, tuple(self.tensor.shape), self.tensor.stride())
        return torch._utils._rebuild_tensor, parts


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_file_of_torch_0_3_without_batch_counters_loads(tmp_path):
    expected = SyncNetV2().state_dict()
    old = OrderedDict((k, Torch03Tensor(v)) for k, v in expected.items() if not k.endswith("num_batches_tracked"))
    path = tmp_path / "syncnet_v2.model"
    torch.save(old, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes().replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    path.write_bytes(content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    loaded = load_syncnet_v2(path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())


def test_tar_file_is_rejected_with_the_remedy(tmp_path):
    (tmp_path / "pickle").write_bytes(b"anything")
    with tarfile.open(tmp_path / "syncnet_v2.model", "w") as tar:
        tar.add(tmp_path / "pickle", "pickle")
    with pytest.raises(InputError, match=r"syncnet_v2\.model: is in the tar format.*weights_only=False"):
        load_syncnet_v2(tmp_path / "syncnet_v2.model")


def test_missing_or_unrelated_file_is_rejected_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.model: no such checkpoint"):
        load_syncnet_v2(tmp_path / "nothing.model")
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"expert\.pth: .*SyncNet"):
        load_syncnet_v2(tmp_path / "expert.pth")
