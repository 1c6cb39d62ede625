"""Training at every resolution, with an expert of the same or another one."""

import logging
import shutil

import cv2
import numpy as np
import pytest
import torch

import train.syncnet
import train.wav2lip_gan
from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from preprocess.pack import pack_clips
from tests.helpers.trainers import compose_config
from train.data.checks import warn_if_upscaled
from train.sync_expert import load_expert
from wav2lip.checkpoints import Checkpoint, load_checkpoint, load_network, save_checkpoint
from wav2lip.dataset.clip import ClipWriter
from wav2lip.errors import InputError
from wav2lip.faces.tensors import crop_mouths, resize_mouths

STEP = ["debug=tiny", "max_steps=1", "batch_size=2", "eval_windows=2", "eval_interval=1", "checkpoint_interval=1",
        "model.width=0.0625"]  # fmt: skip


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """An expert for faces of 96 pixels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("expert") / "expert.pth"
    save_checkpoint(path, Checkpoint(SyncNet(width=0.0625).state_dict()))
    return path


@pytest.mark.parametrize("resolution", [192, 288, 384])
def test_gan_takes_step_with_expert_of_other_resolution(resolution, noise_data, expert, tmp_path):
    paths = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path}", f"syncnet_checkpoint_path={expert}"]
    cfg = compose_config("wav2lip_gan", f"model=wav2lip_{resolution}", *paths, "syncnet_wt=0.03", *STEP)
    assert train.wav2lip_gan.run(cfg) == 0
    for network, prefix in ((Wav2Lip, ""), (VisualQualityDiscriminator, "disc_")):
        file = tmp_path / f"{prefix}checkpoint_step000000001.pth"
        assert load_network(file, network).resolution == resolution
        state = load_checkpoint(file).optimizer["state"]
        assert state and all(moments["exp_avg"].abs().sum() > 0 for moments in list(state.values())[-2:])


@pytest.mark.parametrize("resolution", [192, 288, 384])
def test_expert_takes_step_and_embeds_its_resolution(resolution, noise_data, tmp_path):
    common = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path}", *STEP]
    assert train.syncnet.run(compose_config("syncnet", f"model=syncnet_{resolution}", *common)) == 0
    expert = load_expert(tmp_path / "checkpoint_step000000001.pth", resolution).eval()
    mel, faces = torch.zeros(1, 1, 80, 16), torch.rand(1, 3, 5, resolution, resolution)
    audio, face = expert(mel, crop_mouths(faces))
    assert expert.resolution == resolution and audio.shape == face.shape == (1, 32)


@pytest.mark.parametrize(("size", "new_size", "interpolation"), [
    (192, 96, cv2.INTER_LINEAR), (192, 96, cv2.INTER_AREA), (288, 96, cv2.INTER_AREA), (384, 96, cv2.INTER_AREA),
    (384, 192, cv2.INTER_LINEAR), (96, 192, cv2.INTER_LINEAR), (288, 384, cv2.INTER_LINEAR),
])  # fmt: skip
def test_resize_mouths_equals_opencv(size, new_size, interpolation):
    lower = np.random.default_rng(0).random((size // 2, size, 3), np.float32)
    expected = cv2.resize(lower, (new_size, new_size // 2), interpolation=interpolation)
    actual = resize_mouths(torch.from_numpy(lower).movedim(-1, 0)[None], new_size)[0].movedim(0, -1)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_load_expert_resizes_and_passes_gradients(resolution, expert):
    torch.manual_seed(1)
    mel = torch.rand(2, 1, 80, 16, dtype=torch.float64)
    faces = torch.rand(2, 3, 5, resolution, resolution, dtype=torch.float64, requires_grad=True)
    original, resizing_expert = load_network(expert, SyncNet).double(), load_expert(expert, resolution).double()
    _, face = resizing_expert(mel, crop_mouths(faces))  # in training mode, where few ReLUs are dead
    resized = crop_mouths(faces).detach().unflatten(2, (48, -1)).unflatten(4, (96, -1)).mean(dim=(3, 5))
    torch.testing.assert_close(face, original(mel, resized)[1])
    (gradient,) = torch.autograd.grad((face * torch.rand_like(face)).sum(), faces)
    assert (gradient[..., : resolution // 2, :] == 0).all()
    assert (gradient[..., resolution // 2 :, :] != 0).float().mean() > 0.99


def test_pack_of_resolution_is_read_or_its_command_is_named(noise_data, tmp_path, caplog):
    root = shutil.copytree(noise_data, tmp_path / "data")
    common = [f"data_root={root}", f"checkpoint_dir={tmp_path}", "data_source=packed", *STEP]
    with pytest.raises(InputError, match=r"packed/192: no complete pack; .*preprocess.pack .*sizes=\[192\]"):
        train.syncnet.run(compose_config("syncnet", "model=syncnet_192", *common))
    pack_clips(root, [f"speaker{n}/00000" for n in range(3)], sizes=[192])
    with caplog.at_level(logging.INFO):
        assert train.syncnet.run(compose_config("syncnet", "model=syncnet_192", *common)) == 0
    assert f"clips from {root / 'packed/192'}" in caplog.text


def test_warn_if_upscaled_counts_small_faces(tmp_path, caplog):
    for n, side in enumerate((90, 150, 200, 191, 400)):
        with ClipWriter(tmp_path, f"a/{n}") as clip:
            clip.write_frame(7, np.zeros((side - 9, side, 3), np.uint8))
            clip.write_audio([np.zeros(16_000, np.float32)])
    clips = [*(str(tmp_path / f"a/{n}") for n in range(5)), str(tmp_path / "moved")]
    warn_if_upscaled(clips, 96)
    assert not caplog.messages
    warn_if_upscaled(clips, 192)
    (line,) = caplog.messages
    assert line.startswith("3 of 5 sampled clips have faces smaller than the model's 192 pixels (median 191)")
