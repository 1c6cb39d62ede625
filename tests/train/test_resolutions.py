"""Training at every resolution: all three networks take a step, and an expert of another one judges it."""

import logging
import shutil

import cv2
import numpy as np
import pytest
import torch

import train.syncnet
import train.wav2lip_gan
from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from preprocess.pack import pack
from tests.train.conftest import config
from train.data.face_sizes import warn_if_enlarged
from train.expert import expert_for
from wav2lip.checkpoints import Checkpoint, load_checkpoint, load_network, save_checkpoint
from wav2lip.clips import ClipWriter
from wav2lip.crops import mouths, resize_mouths
from wav2lip.errors import InputError

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
def test_generator_and_critic_take_a_step_at_the_resolution_against_an_expert_of_another(
    resolution, noise_data, expert, tmp_path
):
    cfg = config("wav2lip_gan", f"model=wav2lip_{resolution}", f"data_root={noise_data}", f"checkpoint_dir={tmp_path}",
                 f"syncnet_checkpoint_path={expert}", "syncnet_wt=0.03", *STEP)  # fmt: skip
    assert train.wav2lip_gan.train(cfg) == 0
    for network, prefix in ((Wav2Lip, ""), (VisualQualityDiscriminator, "disc_")):
        file = tmp_path / f"{prefix}checkpoint_step000000001.pth"
        assert load_network(file, network).resolution == resolution
        state = load_checkpoint(file).optimizer["state"]
        assert state and all(moments["exp_avg"].abs().sum() > 0 for moments in list(state.values())[-2:])


@pytest.mark.parametrize("resolution", [192, 288, 384])
def test_an_expert_takes_a_step_at_the_resolution_and_then_judges_a_generator_of_it(resolution, noise_data, tmp_path):
    common = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path}", *STEP]
    assert train.syncnet.train(config("syncnet", f"model=syncnet_{resolution}", *common)) == 0
    trained = expert_for(tmp_path / "checkpoint_step000000001.pth", resolution).eval()
    mel, faces = torch.zeros(1, 1, 80, 16), torch.rand(1, 3, 5, resolution, resolution)
    audio, face = trained(mel, mouths(faces))
    assert trained.resolution == resolution and audio.shape == face.shape == (1, 32)


@pytest.mark.parametrize(("given", "wanted", "interpolation"), [
    (192, 96, cv2.INTER_LINEAR), (192, 96, cv2.INTER_AREA), (288, 96, cv2.INTER_AREA), (384, 96, cv2.INTER_AREA),
    (384, 192, cv2.INTER_LINEAR), (96, 192, cv2.INTER_LINEAR), (288, 384, cv2.INTER_LINEAR),
])  # fmt: skip
def test_mouths_are_resized_as_opencv_does(given, wanted, interpolation):
    lower = np.random.default_rng(0).random((given // 2, given, 3), np.float32)
    expected = cv2.resize(lower, (wanted, wanted // 2), interpolation=interpolation)
    ours = resize_mouths(torch.from_numpy(lower).movedim(-1, 0)[None], wanted)[0].movedim(0, -1)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_an_expert_says_of_larger_faces_what_it_says_of_them_resized_and_its_advice_reaches_every_pixel(
    resolution, expert
):
    torch.manual_seed(1)
    mel = torch.rand(2, 1, 80, 16, dtype=torch.float64)
    faces = torch.rand(2, 3, 5, resolution, resolution, dtype=torch.float64, requires_grad=True)
    plain, judge = load_network(expert, SyncNet).double(), expert_for(expert, resolution).double()
    _, face = judge(mel, mouths(faces))  # in training mode, where few ReLUs are closed for good
    small = mouths(faces).detach().unflatten(2, (48, -1)).unflatten(4, (96, -1)).mean(dim=(3, 5))
    torch.testing.assert_close(face, plain(mel, small)[1])
    (gradient,) = torch.autograd.grad((face * torch.rand_like(face)).sum(), faces)
    assert (gradient[..., : resolution // 2, :] == 0).all()
    assert (gradient[..., resolution // 2 :, :] != 0).float().mean() > 0.99


def test_a_pack_of_the_resolution_is_read_and_where_it_lacks_the_command_is_named(noise_data, tmp_path, caplog):
    root = shutil.copytree(noise_data, tmp_path / "data")
    common = [f"data_root={root}", f"checkpoint_dir={tmp_path}", "data=packed", *STEP]
    with pytest.raises(InputError, match=r"packed/192: holds no finished pack; run .*preprocess.pack .*sizes=\[192\]"):
        train.syncnet.train(config("syncnet", "model=syncnet_192", *common))
    pack(root, [f"speaker{n}/00000" for n in range(3)], sizes=[192])
    with caplog.at_level(logging.INFO):
        assert train.syncnet.train(config("syncnet", "model=syncnet_192", *common)) == 0
    assert f"clips from {root / 'packed/192'}" in caplog.text


def test_faces_smaller_than_the_resolution_are_counted_in_one_warning(tmp_path, caplog):
    for n, side in enumerate((90, 150, 200, 191, 400)):
        with ClipWriter(tmp_path, f"a/{n}") as clip:
            clip.write_frame(7, np.zeros((side - 9, side, 3), np.uint8))
            clip.write_audio([np.zeros(16_000, np.float32)])
    clips = [*(str(tmp_path / f"a/{n}") for n in range(5)), str(tmp_path / "moved")]
    warn_if_enlarged(clips, 96)
    assert not caplog.messages
    warn_if_enlarged(clips, 192)
    (line,) = caplog.messages
    assert line.startswith("3 of 5 clips looked at have faces smaller than the 192 pixels trained on (median 191)")
