"""GAN runs, small: warm-up of the discriminator, weight schedules, averaged generator."""

from itertools import chain

import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from tests.helpers import trainers
from tests.helpers.trainers import is_equal, load_step, read_curves
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError


def run_gan(*arguments):
    return trainers.run_trainer(*arguments, "batch_size=2")


def read_curve(folder, name):
    return dict(read_curves(folder)[f"train/{name}"])


def read_rates(folder, steps):
    return [load_step(folder, step).optimizer["param_groups"][0]["lr"] for step in steps]


def checkpoint_overrides(folder, step):
    """Return the overrides that start from the checkpoints of both models."""
    name = f"checkpoint_step{step:09d}.pth"
    return [f"checkpoint_path={folder}/{name}", f"disc_checkpoint_path={folder}/disc_{name}"]


def test_generator_rests_during_discriminator_warmup(noise_data, expert, tmp_path):
    options = ["disc_warmup_steps=3", "ema_decay=0.5", "grad_clip_norm=1.0", "warmup_steps=2",
               "checkpoint_interval=1", "eval_interval=100", "max_steps=5"]  # fmt: skip
    uninterrupted = run_gan("wav2lip_gan", noise_data, tmp_path / "whole", expert, *options)
    first, third, fourth = (load_step(uninterrupted, step) for step in (1, 3, 4))
    assert is_equal(first.state_dict, third.state_dict)  # averaged weights and statistics
    assert is_equal(first.extras["own_weights"], third.extras["own_weights"])
    assert third.extras["ema_steps"] == 0
    assert third.optimizer["state"] == {}
    assert not is_equal(
        load_step(uninterrupted, 1, "disc_").state_dict, load_step(uninterrupted, 3, "disc_").state_dict
    )
    assert not is_equal(third.extras["own_weights"], fourth.extras["own_weights"])
    assert fourth.optimizer["state"][0]["step"] == 1
    # The generator's learning-rate warm-up of two steps begins with its first step.
    assert read_rates(uninterrupted, (4, 5)) == pytest.approx([5e-5, 1e-4])
    assert set(read_curve(uninterrupted, "disc_real")) == {1, 2, 3, 4, 5}
    assert set(read_curve(uninterrupted, "l1")) == {4, 5}
    resumed = run_gan(
        "wav2lip_gan", noise_data, tmp_path / "again", expert, *options, *checkpoint_overrides(uninterrupted, 2)
    )
    for prefix in ("", "disc_"):
        assert is_equal(load_step(uninterrupted, 5, prefix).state_dict, load_step(resumed, 5, prefix).state_dict)


def test_new_discriminator_warms_up_beside_a_trained_generator(noise_data, expert, tmp_path):
    plain = run_gan("wav2lip", noise_data, tmp_path / "plain", expert, "max_steps=2", "checkpoint_interval=2")
    gan = run_gan("wav2lip_gan", noise_data, tmp_path / "gan", expert, "disc_warmup_steps=2", "checkpoint_interval=2",
              f"checkpoint_path={plain}/checkpoint_step000000002.pth")  # fmt: skip
    assert is_equal(load_step(plain, 2).state_dict, load_step(gan, 4).state_dict)
    assert not is_equal(load_step(gan, 4).state_dict, load_step(gan, 6).state_dict)


def test_lr_warmup_follows_the_discriminators_warmup(noise_data, expert, tmp_path):
    plain = run_gan("wav2lip", noise_data, tmp_path / "plain", expert, "max_steps=2", "checkpoint_interval=2")
    options = ["disc_warmup_steps=2", "warmup_steps=2", "checkpoint_interval=1", "max_steps=7", "eval_interval=100"]
    gan = run_gan("wav2lip_gan", noise_data, tmp_path / "gan", expert, *options,
              f"checkpoint_path={plain}/checkpoint_step000000002.pth")  # fmt: skip
    expected = [5e-5, 1e-4, 1e-4]  # in steps 3 and 4 the discriminator trains alone
    assert read_rates(gan, (5, 6, 7)) == pytest.approx(expected)
    resumed = run_gan("wav2lip_gan", noise_data, tmp_path / "again", expert, *options, *checkpoint_overrides(gan, 4))
    assert read_rates(resumed, (5, 6, 7)) == pytest.approx(expected)


def test_weight_schedules_are_in_curves_and_checkpoint(noise_data, expert, tmp_path):
    folder = run_gan("wav2lip_gan", noise_data, tmp_path, expert, "syncnet_wt=[[0,0.0],[4,0.4]]",
                 "disc_wt=[[2,0.0],[4,0.2]]")  # fmt: skip
    assert list(read_curve(folder, "syncnet_wt").values()) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert list(read_curve(folder, "disc_wt").values()) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.2])
    terms = {name: read_curve(folder, name)[4] for name in ("loss", "weighted_l1", "sync", "gan_generator")}
    expected = 0.6 * terms["weighted_l1"] + 0.3 * terms["sync"] + 0.1 * terms["gan_generator"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-4)
    state = load_step(folder, 6).extras["train_step"]
    assert state["weights"] == pytest.approx(
        {"syncnet_wt": 0.4, "disc_wt": 0.2, "vgg_wt": 0, "teacher_wt": 0, "feature_matching_wt": 0, "l1_wt": 0.4}
    )
    assert state["weight_schedules"]["disc_wt"] == [[2, 0.0], [4, 0.2]]


def test_mouth_weight_and_vgg_loss_are_trained_and_logged(noise_data, expert, tmp_path):
    torch.manual_seed(0)
    vgg = tmp_path / "vgg16.pth"
    torch.save({f"features.{key}": value for key, value in make_layers(cfgs["D"]).state_dict().items()}, vgg)
    folder = run_gan("wav2lip", noise_data, tmp_path / "run", expert, "mouth_weight=3", f"vgg_weights={vgg}",
                 "vgg_wt=0.25", "max_steps=2")  # fmt: skip
    terms = {name: read_curve(folder, name)[2] for name in ("loss", "l1", "weighted_l1", "vgg", "vgg_wt")}
    assert terms["vgg_wt"] == 0.25
    assert terms["loss"] == pytest.approx(0.75 * terms["weighted_l1"] + 0.25 * terms["vgg"], rel=1e-4)
    assert terms["weighted_l1"] != pytest.approx(terms["l1"], rel=1e-6)


OPTIONS = {
    "hinge": ["disc_loss=hinge"],
    "r1": ["r1_wt=1", "r1_interval=2"],
    "spectral_norm": ["disc_spectral_norm=true"],
    "feature_matching": ["feature_matching_wt=0.1"],
}


@pytest.mark.parametrize("options", [*OPTIONS.values(), [*chain(*OPTIONS.values())]], ids=[*OPTIONS, "all"])
def test_resumed_run_with_an_option_ends_bit_for_bit_the_same(options, noise_data, expert, tmp_path):
    options = [*options, "model.width=0.0625", "max_steps=4", "checkpoint_interval=3", "eval_interval=2"]
    whole = run_gan("wav2lip_gan", noise_data, tmp_path / "whole", expert, *options)
    plain = run_gan("wav2lip_gan", noise_data, tmp_path / "plain", expert, *options[-4:])
    again = run_gan("wav2lip_gan", noise_data, tmp_path / "again", expert, *options, *checkpoint_overrides(whole, 3))
    for prefix in ("", "disc_"):
        expected, actual = (load_checkpoint(folder / f"{prefix}last.pth") for folder in (whole, again))
        assert is_equal(expected.state_dict, actual.state_dict)
        weights = load_checkpoint(plain / f"{prefix}last.pth").state_dict
        assert not is_equal(weights, expected.state_dict)  # the option has an effect


def test_penalty_and_feature_distance_are_logged(noise_data, expert, tmp_path):
    folder = run_gan("wav2lip_gan", noise_data, tmp_path, expert, "r1_wt=1", "r1_interval=2", "max_steps=4",
                     "feature_matching_wt=[[0,0.0],[4,0.4]]", "monitor_metric=feature_matching")  # fmt: skip
    assert set(read_curve(folder, "disc_r1")) == {1, 3}  # steps 0 and 2, counted from 0
    terms = {name: read_curve(folder, name)[4] for name in ("loss", "weighted_l1", "gan_generator", "feature_matching")}
    assert read_curve(folder, "feature_matching_wt")[4] == pytest.approx(0.3)
    expected = 0.63 * terms["weighted_l1"] + 0.07 * terms["gan_generator"] + 0.3 * terms["feature_matching"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-4)
    assert "val/feature_matching" in read_curves(folder)


def test_spectral_norm_starts_from_a_plain_discriminator(noise_data, expert, tmp_path):
    plain = run_gan("wav2lip_gan", noise_data, tmp_path / "plain", expert, "max_steps=1")
    files = [f"checkpoint_path={plain}/last.pth", f"disc_checkpoint_path={plain}/disc_last.pth"]
    options = ["disc_spectral_norm=true", "learning_rate=0", "max_steps=2", *files]
    with pytest.raises(InputError, match=r"optimizer state does not fit \(.*\); add reset_optimizer=true"):
        run_gan("wav2lip_gan", noise_data, tmp_path / "kept", expert, *options)
    folder = run_gan("wav2lip_gan", noise_data, tmp_path / "run", expert, *options, "reset_optimizer=true")
    weights = load_checkpoint(plain / "disc_last.pth").state_dict
    assert is_equal(weights, load_checkpoint(folder / "disc_last.pth").state_dict)  # before normalization


def test_vgg_wt_needs_vgg_weights(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=r"vgg_wt=0.1, vgg_weights=None: must be set together"):
        run_gan("wav2lip", noise_data, tmp_path, expert, "vgg_wt=0.1")


def test_one_frame_of_each_window_is_trained_in_steps_without_sync_loss(noise_data, expert, tmp_path):
    options = ["syncnet_wt=[[0,0.1],[1,0.0]]", "max_steps=2"]
    whole = read_curve(run_gan("wav2lip", noise_data, tmp_path / "whole", expert, *options), "l1")
    single = read_curve(
        run_gan("wav2lip", noise_data, tmp_path / "single", expert, *options, "frames_without_sync=1"), "l1"
    )
    assert single[1] == whole[1]  # the step with sync loss has all five frames in both
    assert single[2] != whole[2]  # equal weights and windows, other frames


def test_sync_loss_is_switched_on_after_a_share_of_the_steps(noise_data, expert, tmp_path):
    options = ["syncnet_wt_on=0.1", "sync_threshold=100", "eval_interval=1", "max_steps=4"]
    folder = run_gan("wav2lip", noise_data, tmp_path, expert, *options, "sync_start=0.5")
    assert read_curve(folder, "syncnet_wt") == pytest.approx({1: 0, 2: 0, 3: 0.1, 4: 0.1})


def test_some_windows_of_a_batch_are_trained_in_steps_with_sync_loss(noise_data, expert, tmp_path):
    options = ["syncnet_wt=[[0,0.0],[1,0.1]]", "max_steps=2"]
    whole = read_curve(run_gan("wav2lip", noise_data, tmp_path / "whole", expert, *options), "l1")
    all_windows = run_gan("wav2lip", noise_data, tmp_path / "all", expert, *options, "sync_windows=2")
    some = read_curve(run_gan("wav2lip", noise_data, tmp_path / "some", expert, *options, "sync_windows=1"), "l1")
    assert read_curve(all_windows, "l1") == whole
    assert some[1] == whole[1]  # the step without sync loss has all windows in both
    assert some[2] != whole[2]
