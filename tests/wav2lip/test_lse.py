"""LSE-D and LSE-C are the public evaluation's, at any length, and a bad file or clip gets a sentence."""

import tarfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from models import SyncNet, SyncNetV2
from tests.reference import golden, tensor, weights
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.clips import Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.lse import clip_distance_by_shift, distance_by_shift, load_syncnet_v2, lse, shifted_distances
from wav2lip.mfcc import mfcc

FRAMES = 100
TURN = np.deg2rad(8)  # a frame
GROWTH = 0.04  # of the logarithm of the sound's amplitude, a frame


def test_scores_of_a_curve_by_hand():
    # shifts -2..2; sound that fits best when heard one frame after the lips is late: offset -1
    scores = lse(np.array([9.0, 8.0, 7.0, 3.0, 10.0]))
    assert (scores.offset, scores.distance, scores.confidence) == (-1, 3.0, 5.0)


@pytest.mark.parametrize("max_shift", [10, 15])
@pytest.mark.parametrize("block", [1, 5, 12])
def test_distances_of_two_sequences_are_the_golden_ones_however_they_come(max_shift, block):
    lips, sound = tensor(100042, (12, 1024), -1, 1), tensor(100043, (12, 1024), -1, 1)
    sound[2:] = lips[:-2] + 0.1 * sound[2:]
    pairs = zip(lips.split(block), sound.split(block), strict=True)
    distances = torch.cat(list(shifted_distances(pairs, max_shift))).numpy()
    expected = golden("lse")
    np.testing.assert_allclose(distances.T, expected[f"pdist_v{max_shift}"], rtol=1e-5)
    scores = lse(distances.mean(axis=0))
    offset, confidence, distance = expected[f"pdist_v{max_shift}_offset_conf_dist"]
    assert scores.offset == offset == -2
    assert (scores.confidence, scores.distance) == pytest.approx((confidence, distance), rel=1e-5)


def test_the_whole_evaluation_gives_the_golden_scores(tmp_path):
    torch.save(weights("syncnet_v2"), tmp_path / "syncnet_v2.model")
    expert = load_syncnet_v2(tmp_path / "syncnet_v2.model")
    y, x, channel = np.mgrid[:112, :96, :3]
    blue_first = [((3 * y + 2 * x + 70 * channel + 29 * t) % 256).astype(np.uint8) for t in range(28)]
    wav = golden("lse")["mfcc_wav"].astype(np.float32) / 32768
    scores = lse(distance_by_shift(expert, (frame[..., ::-1] for frame in blue_first), wav))
    offset, confidence, distance = golden("lse")["evaluate_offset_conf_dist"]
    assert scores.offset == offset
    assert (scores.confidence, scores.distance) == pytest.approx((confidence, distance), rel=1e-3)


def sound_that_grows(late: float = 0) -> np.ndarray:
    """Sound whose loudness says to which frame it belongs; `late` frames behind the pictures."""
    n = np.arange(FRAMES * 640)
    return (0.01 * (-1.0) ** n * np.exp(GROWTH * (n / 640 - late))).astype(np.float32)


def picture(number: int) -> np.ndarray:
    """A frame whose brightness says its number."""
    return np.full((32, 24, 3), 2 * number, np.uint8)


class Clock(nn.Module):
    """An expert that reads the time off such pictures and sounds, and points to it on a unit circle."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(TURN, dtype=torch.float32))
        self.first = mfcc(sound_that_grows())[0, :20].mean()  # loudness of the first window
        self.longest = 0  # most frames held at once

    def embed_lips(self, frames):
        self.longest = max(self.longest, frames.shape[2])
        return self.point(frames.mean(dim=(1, 3, 4)).unfold(1, 5, 1).mean(dim=-1) / 2 - 2)

    def embed_sound(self, cepstra):
        return self.point((cepstra[:, 0, 0].mean(dim=-1) - self.first) / (2 * GROWTH))

    def point(self, frame):
        angle = self.scale * frame
        return nn.functional.pad(torch.stack([angle.cos(), angle.sin()], dim=-1), (0, 1022))


@pytest.fixture(scope="module")
def clock():
    return Clock().requires_grad_(False)


@pytest.mark.parametrize("late", [-6, 0, 4])
def test_sound_that_is_late_by_some_frames_has_that_offset_negative(clock, late):
    scores = lse(distance_by_shift(clock, map(picture, range(FRAMES)), sound_that_grows(late)))
    assert scores.offset == -late


def curve_by_hand(windows: int, missing: set[int]) -> list[float]:
    """Chords of the clock's circle; sound before the first window and after the last is a zero, at distance 1."""
    curve = []
    for shift in range(-15, 16):
        chord = 2 * abs(np.sin(shift * TURN / 2))
        kept = [v for v in range(windows) if not missing & set(range(v, v + 5))]
        curve.append(np.mean([chord if 0 <= v + shift < windows else 1.0 for v in kept]))
    return curve


@pytest.mark.parametrize(("frames", "missing"), [(FRAMES, set()), (FRAMES, {0, 37, 38}), (31, {30}), (6, set())])
def test_windows_are_one_fewer_than_possible_and_leave_out_missing_frames(clock, frames, missing):
    given = (None if n in missing else picture(n) for n in range(frames))
    curve = distance_by_shift(clock, given, sound_that_grows())
    np.testing.assert_allclose(curve, curve_by_hand(frames - 5, missing), atol=5e-3)


def test_pictures_without_sound_are_left_out_and_a_part_of_a_frame_is_no_frame(clock):
    curve = distance_by_shift(clock, map(picture, range(FRAMES)), sound_that_grows()[: 50 * 640 + 639])
    np.testing.assert_allclose(curve, curve_by_hand(45, set()), atol=5e-3)


def test_a_long_video_is_held_a_stretch_at_a_time(clock):
    distance_by_shift(clock, map(picture, range(FRAMES)), sound_that_grows())
    assert clock.longest == 24


def test_five_frames_are_too_few(clock):
    with pytest.raises(ValueError, match="no 5 consecutive frames"):
        distance_by_shift(clock, map(picture, range(5)), sound_that_grows())


def write_clip(root, numbers, wav):
    with ClipWriter(root, "group/clip") as clip:
        for number in numbers:
            clip.write_frame(number, picture(number))
        clip.write_audio([wav])
    return Clip.open(root / "group/clip")


def test_a_clip_is_scored_from_its_crops_and_its_sound(clock, tmp_path):
    clip = write_clip(tmp_path, [n for n in range(FRAMES) if n not in (0, 37, 38)], sound_that_grows())
    curve = clip_distance_by_shift(clock, clip)
    np.testing.assert_allclose(curve, curve_by_hand(FRAMES - 5, {0, 37, 38}), atol=5e-3)


def test_a_clip_too_short_to_be_scored_is_refused_by_name(clock, tmp_path):
    with pytest.raises(InputError, match=r"group/clip: its sync cannot be scored"):
        clip_distance_by_shift(clock, write_clip(tmp_path, range(4), sound_that_grows()))


class Torch03Tensor:
    """Pickles as a tensor did in torch 0.3, the year of the published file."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        parts = (self.tensor.storage(), 0, tuple(self.tensor.shape), self.tensor.stride())
        return torch._utils._rebuild_tensor, parts


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_file_of_torch_0_3_from_a_gpu_without_batch_counters_is_read(tmp_path):
    expected = SyncNetV2().state_dict()
    old = OrderedDict((k, Torch03Tensor(v)) for k, v in expected.items() if not k.endswith("num_batches_tracked"))
    path = tmp_path / "syncnet_v2.model"
    torch.save(old, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes().replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    path.write_bytes(content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    read = load_syncnet_v2(path).state_dict()
    assert all(torch.equal(read[key], value) for key, value in expected.items())


def test_a_tar_file_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "pickle").write_bytes(b"anything")
    with tarfile.open(tmp_path / "syncnet_v2.model", "w") as tar:
        tar.add(tmp_path / "pickle", "pickle")
    with pytest.raises(InputError, match=r"syncnet_v2\.model: is in the tar format .* weights_only=False"):
        load_syncnet_v2(tmp_path / "syncnet_v2.model")


def test_a_missing_file_and_one_of_another_network_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.model: no such checkpoint"):
        load_syncnet_v2(tmp_path / "nothing.model")
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"expert\.pth: does not fit SyncNetV2; it holds a SyncNet expert"):
        load_syncnet_v2(tmp_path / "expert.pth")
