"""What networks make of a clip is what they make of its windows one by one, and their files tell them apart."""

import numpy as np
import pytest
import torch
from torch import nn

from models import SyncNet, SyncNetV2, Wav2Lip
from tests.reference import weights
from wav2lip.audio import load_wav
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.clips import AUDIO, Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.lse import load_syncnet_v2
from wav2lip.metrics import agreement_by_shift
from wav2lip.mfcc import mfcc
from wav2lip.network_experts import SyncNetExpert, SyncNetV2Expert, load_expert
from wav2lip.sync import measure


def write_clip(folder, frames, pictures, wav):
    with ClipWriter(folder, "a/0") as clip:
        for frame, picture in zip(frames, pictures, strict=True):
            clip.write_frame(frame, picture)
        clip.write_audio([wav])
    return Clip.open(folder / "a/0")


def noise_clip(folder, frames, seconds, size=96):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (size, size, 3), np.uint8) for _ in frames]
    return write_clip(folder, frames, pictures, rng.normal(0, 0.1, int(seconds * 16000)).astype(np.float32))


def test_the_vectors_of_a_syncnet_give_the_cosines_of_its_windows(tmp_path):
    clip = noise_clip(tmp_path, [*range(3, 30), *range(33, 60)], seconds=2.4)
    torch.manual_seed(0)
    network = SyncNet(width=0.125).eval()
    embedded = SyncNetExpert(network).embed(clip)
    expected = agreement_by_shift(network, clip, range(-2, 3))
    products = embedded.lips @ embedded.sound.T
    inside = (embedded.firsts - 2 >= 0) & (embedded.firsts + 2 < len(embedded.sound))
    ours = np.stack([products[np.flatnonzero(inside), embedded.firsts[inside] + k] for k in range(-2, 3)], axis=1)
    # agreement_by_shift leaves out windows whose sound is before frame 0
    assert ours[-len(expected) :] == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file like syncnet_v2.model: a bare state_dict."""
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(weights("syncnet_v2"), path)
    return path


@torch.inference_mode()
def test_the_vectors_of_syncnet_v2_are_those_of_its_windows_one_by_one(published, tmp_path):
    there = [*range(20, 45), 47, 48, *range(50, 55)]  # a batch and one window; too few in a row; one window
    clip = noise_clip(tmp_path, there, seconds=2.5, size=112)
    embedded = load_expert(published).embed(clip)
    network = load_syncnet_v2(published)
    assert embedded.firsts.tolist() == [f - 5 for f in (*range(20, 41), 50)]  # row 0 is frame 20 less the reach of 15
    blue_first = {f: torch.from_numpy(clip.read(f, 224)[..., ::-1].copy()).movedim(-1, 0).float() for f in there}
    for first, lips in zip(embedded.firsts + 5, embedded.lips, strict=True):
        window = torch.stack([blue_first[first + j] for j in range(5)], dim=1)
        alone = network.embed_lips(window[None])[0, 0].numpy()
        np.testing.assert_allclose(lips, alone, atol=1e-4 * abs(alone).max())
    cepstra = torch.from_numpy(mfcc(load_wav(clip.path / AUDIO)))
    assert len(embedded.sound) == 63 - 5 - 5  # 62.5 frames of sound have whole windows up to that of frame 57
    for first, sound in enumerate(embedded.sound, start=5):
        alone = network.embed_sound(cepstra[None, None, :, 4 * first : 4 * first + 20])[0].numpy()
        np.testing.assert_allclose(sound, alone, atol=1e-4 * abs(alone).max())


class Meter(nn.Module):
    """Stands for SyncNet v2: brightness and loudness of each of the five frames, in a vector of 1024."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.longest = 0  # most frames, or windows of sound, held at once

    def embed_lips(self, frames):
        self.longest = max(self.longest, frames.shape[2])
        return self.padded(frames.mean(dim=(1, 3, 4)).unfold(1, 5, 1))

    def embed_sound(self, cepstra):
        self.longest = max(self.longest, len(cepstra))
        return self.padded(cepstra[:, 0, 0].unflatten(1, (5, 4)).mean(dim=-1))

    def padded(self, values):
        return nn.functional.pad(values * self.weight, (0, 1019))


def talking(folder, late, seed, frames=100, first=0):
    """A picture that is bright while the sound is loud, the sound so many frames late."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0, 1, first + frames + 40)
    heard = level[20 - late : 20 - late + first + frames]
    wav = np.repeat(0.01 * np.exp(3 * heard), 640) * rng.normal(size=640 * len(heard))
    numbers = range(first, first + frames)
    pictures = [np.full((24, 16, 3), 40 + 180 * level[20 + n], np.uint8) for n in numbers]
    return write_clip(folder, numbers, pictures, wav.astype(np.float32))


@pytest.mark.parametrize(("late", "first"), [(-12, 0), (0, 0), (3, 30), (9, 0)])
def test_syncnet_v2_finds_the_offset_that_was_planted(tmp_path, late, first):
    expert = SyncNetV2Expert(Meter())
    others = [expert.embed(talking(tmp_path / str(seed), 0, seed)).sound for seed in range(3)]
    found = measure(expert.embed(talking(tmp_path / "clip", late, 99, first=first)), others)
    assert found.offset == late
    assert found.confidence > 8


def test_syncnet_v2_is_shown_a_batch_at_a_time_of_the_first_minute(tmp_path):
    expert = SyncNetV2Expert(Meter())
    embedded = expert.embed(talking(tmp_path, 0, 1, frames=1600))
    assert embedded.lips.shape == (1500 - 4, 1024)
    assert embedded.sound.shape == (1500 + 15, 1024)
    assert expert.network.longest == 64


def test_a_clip_with_hardly_any_sound_has_no_windows_and_is_not_judged(tmp_path):
    clip = noise_clip(tmp_path, range(30), seconds=0.1)
    embedded = SyncNetV2Expert(Meter()).embed(clip)
    assert len(embedded.sound) == 0
    assert measure(embedded, [np.ones((200, 1024), np.float32)]) is None


def test_a_clip_whose_sound_ends_before_its_pictures_begin_is_named(tmp_path):
    clip = noise_clip(tmp_path, range(100, 130), seconds=0.1)
    with pytest.raises(InputError, match=r"audio\.wav: its sync cannot be judged"):
        SyncNetV2Expert(Meter()).embed(clip)


def test_the_keys_of_a_file_tell_which_expert_it_holds(published, tmp_path):
    save_checkpoint(tmp_path / "ours.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    assert isinstance(load_expert(tmp_path / "ours.pth"), SyncNetExpert)
    expert = load_expert(published)
    assert isinstance(expert, SyncNetV2Expert)
    assert isinstance(expert.network, SyncNetV2)


def test_a_file_of_another_network_is_refused_by_name(tmp_path):
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"generator\.pth: does not fit SyncNet; it holds a Wav2Lip generator"):
        load_expert(tmp_path / "generator.pth")
