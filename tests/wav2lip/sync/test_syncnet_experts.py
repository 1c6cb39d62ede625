"""Embeddings of clips equal those of single windows; checkpoints select the expert."""

import numpy as np
import pytest
import torch
from torch import nn

from models import SyncNet, SyncNetV2, Wav2Lip
from tests.helpers.goldens import weights
from tests.helpers.sync import cosines_by_shift
from wav2lip.audio import load_wav
from wav2lip.audio.mfcc import mfcc
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.dataset.clip import AUDIO, Clip, ClipWriter
from wav2lip.errors import InputError
from wav2lip.sync.lse import SyncNetV2Expert, load_syncnet_v2
from wav2lip.sync.offset import estimate_offset
from wav2lip.sync.syncnet_experts import SyncNetExpert, load_expert


def write_clip(folder, frames, images, wav):
    with ClipWriter(folder, "a/0") as clip:
        for frame, image in zip(frames, images, strict=True):
            clip.write_frame(frame, image)
        clip.write_audio([wav])
    return Clip.open(folder / "a/0")


def noise_clip(folder, frames, seconds, size=96):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (size, size, 3), np.uint8) for _ in frames]
    return write_clip(folder, frames, images, rng.normal(0, 0.1, int(seconds * 16000)).astype(np.float32))


def test_embedding_gives_the_cosines_of_single_windows(tmp_path):
    clip = noise_clip(tmp_path, [*range(3, 30), *range(33, 60)], seconds=2.4)
    torch.manual_seed(0)
    network = SyncNet(width=0.125).eval()
    embedding = SyncNetExpert(network).embed(clip)
    expected = cosines_by_shift(network, clip, range(-2, 3))
    products = embedding.lips @ embedding.audio.T
    inside = (embedding.starts - 2 >= 0) & (embedding.starts + 2 < len(embedding.audio))
    actual = np.stack([products[np.flatnonzero(inside), embedding.starts[inside] + k] for k in range(-2, 3)], axis=1)
    # cosines_by_shift skips windows whose audio starts before frame 0.
    assert actual[-len(expected) :] == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def syncnet_v2_file(tmp_path_factory):
    """A file like syncnet_v2.model: a bare state_dict."""
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(weights("syncnet_v2"), path)
    return path


@torch.inference_mode()
def test_syncnet_v2_embedding_equals_single_windows(syncnet_v2_file, tmp_path):
    frames = [*range(20, 45), 47, 48, *range(50, 55)]  # a batch and one window; too few in a row; one window
    clip = noise_clip(tmp_path, frames, seconds=2.5, size=112)
    embedding = load_expert(syncnet_v2_file).embed(clip)
    network = load_syncnet_v2(syncnet_v2_file)
    assert embedding.starts.tolist() == [f - 5 for f in (*range(20, 41), 50)]  # row 0 is frame 20 less the reach of 15
    blue_first = {f: torch.from_numpy(clip.read(f, 224)[..., ::-1].copy()).movedim(-1, 0).float() for f in frames}
    for first, lips in zip(embedding.starts + 5, embedding.lips, strict=True):
        window = torch.stack([blue_first[first + j] for j in range(5)], dim=1)
        single = network.embed_lips(window[None])[0, 0].numpy()
        np.testing.assert_allclose(lips, single, atol=1e-4 * abs(single).max())
    cepstra = torch.from_numpy(mfcc(load_wav(clip.path / AUDIO)))
    assert len(embedding.audio) == 63 - 5 - 5  # 62.5 frames of audio have complete windows up to that of frame 57
    for first, audio in enumerate(embedding.audio, start=5):
        single = network.embed_audio(cepstra[None, None, :, 4 * first : 4 * first + 20])[0].numpy()
        np.testing.assert_allclose(audio, single, atol=1e-4 * abs(single).max())


class LevelNetwork(nn.Module):
    """Replaces SyncNet v2: brightness and loudness of each of the five frames, in a vector of 1024."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.max_batch = 0  # most frames, or windows of audio, per forward pass

    def embed_lips(self, frames):
        self.max_batch = max(self.max_batch, frames.shape[2])
        return self.pad(frames.mean(dim=(1, 3, 4)).unfold(1, 5, 1))

    def embed_audio(self, cepstra):
        self.max_batch = max(self.max_batch, len(cepstra))
        return self.pad(cepstra[:, 0, 0].unflatten(1, (5, 4)).mean(dim=-1))

    def pad(self, values):
        return nn.functional.pad(values * self.weight, (0, 1019))


def make_talking_clip(folder, lag, seed, frames=100, first=0):
    """A clip that is bright while its audio is loud, with the audio `lag` frames behind."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0, 1, first + frames + 40)
    audio_level = level[20 - lag : 20 - lag + first + frames]
    wav = np.repeat(0.01 * np.exp(3 * audio_level), 640) * rng.normal(size=640 * len(audio_level))
    numbers = range(first, first + frames)
    images = [np.full((24, 16, 3), 40 + 180 * level[20 + n], np.uint8) for n in numbers]
    return write_clip(folder, numbers, images, wav.astype(np.float32))


@pytest.mark.parametrize(("lag", "first"), [(-12, 0), (0, 0), (3, 30), (9, 0)])
def test_syncnet_v2_finds_the_true_offset(tmp_path, lag, first):
    expert = SyncNetV2Expert(LevelNetwork())
    negatives = [expert.embed(make_talking_clip(tmp_path / str(seed), 0, seed)).audio for seed in range(3)]
    estimate = estimate_offset(expert.embed(make_talking_clip(tmp_path / "clip", lag, 99, first=first)), negatives)
    assert estimate.offset == lag
    assert estimate.confidence > 8


def test_syncnet_v2_embeds_the_first_minute_in_batches(tmp_path):
    expert = SyncNetV2Expert(LevelNetwork())
    embedding = expert.embed(make_talking_clip(tmp_path, 0, 1, frames=1600))
    assert embedding.lips.shape == (1500 - 4, 1024)
    assert embedding.audio.shape == (1500 + 15, 1024)
    assert expert.network.max_batch == 64


def test_clip_with_hardly_any_audio_has_no_estimate(tmp_path):
    clip = noise_clip(tmp_path, range(30), seconds=0.1)
    embedding = SyncNetV2Expert(LevelNetwork()).embed(clip)
    assert len(embedding.audio) == 0
    assert estimate_offset(embedding, [np.ones((200, 1024), np.float32)]) is None


def test_clip_whose_audio_ends_before_its_frames_is_named(tmp_path):
    clip = noise_clip(tmp_path, range(100, 130), seconds=0.1)
    with pytest.raises(InputError, match=r"audio\.wav: .*sync"):
        SyncNetV2Expert(LevelNetwork()).embed(clip)


def test_checkpoint_keys_select_the_expert(syncnet_v2_file, tmp_path):
    save_checkpoint(tmp_path / "syncnet.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    assert isinstance(load_expert(tmp_path / "syncnet.pth"), SyncNetExpert)
    expert = load_expert(syncnet_v2_file)
    assert isinstance(expert, SyncNetV2Expert)
    assert isinstance(expert.network, SyncNetV2)


def test_unrelated_file_is_rejected_by_name(tmp_path):
    save_checkpoint(tmp_path / "generator.pth", Checkpoint(Wav2Lip(width=0.0625).state_dict()))
    with pytest.raises(InputError, match=r"generator\.pth: .*Wav2Lip"):
        load_expert(tmp_path / "generator.pth")
