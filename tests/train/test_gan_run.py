"""GAN runs, small, through the entry point: the critic's head start, weights along lines, the averaged generator."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchvision.models.vgg import cfgs, make_layers

from tests.train.conftest import run as run_tiny
from tests.train.conftest import same
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError


def run(*arguments):
    return run_tiny(*arguments, "batch_size=2")


def at(folder, step, prefix=""):
    return load_checkpoint(folder / f"{prefix}checkpoint_step{step:09d}.pth")


def curve(folder, name):
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {event.step: event.value for event in curves.Scalars(f"train/{name}")} if name else curves


def test_while_the_critic_learns_alone_nothing_of_the_generator_moves_and_a_resume_goes_on_there(
    noise_data,
    expert,
    tmp_path,
):
    options = ["disc_warmup=3", "ema=0.5", "clip=1.0", "warmup=2", "checkpoint_interval=1", "eval_interval=100"]
    whole = run("wav2lip_gan", noise_data, tmp_path / "whole", expert, *options, "max_steps=5")
    first, third, fourth = (at(whole, step) for step in (1, 3, 4))
    assert same(first.state_dict, third.state_dict)  # weights and statistics, averaged
    assert same(first.extras["own_weights"], third.extras["own_weights"])
    assert third.extras["ema_steps"] == 0
    assert third.optimizer["state"] == {}
    assert not same(at(whole, 1, "disc_").state_dict, at(whole, 3, "disc_").state_dict)
    assert not same(third.extras["own_weights"], fourth.extras["own_weights"])
    assert fourth.optimizer["state"][0]["step"] == 1
    # the generator's own warm-up of two steps begins when it does
    assert [at(whole, step).optimizer["param_groups"][0]["lr"] for step in (4, 5)] == pytest.approx([5e-5, 1e-4])
    assert set(curve(whole, "critic_real")) == {1, 2, 3, 4, 5}
    assert set(curve(whole, "l1")) == {4, 5}
    again = run("wav2lip_gan", noise_data, tmp_path / "again", expert, *options, "max_steps=5",
                f"checkpoint_path={whole}/checkpoint_step000000002.pth",
                f"disc_checkpoint_path={whole}/disc_checkpoint_step000000002.pth")  # fmt: skip
    for prefix in ("", "disc_"):
        assert same(at(whole, 5, prefix).state_dict, at(again, 5, prefix).state_dict)


def test_a_new_critic_for_a_generator_that_is_trained_already_gets_its_head_start(noise_data, expert, tmp_path):
    plain = run("wav2lip", noise_data, tmp_path / "plain", expert, "max_steps=2", "checkpoint_interval=2")
    gan = run("wav2lip_gan", noise_data, tmp_path / "gan", expert, "disc_warmup=2", "checkpoint_interval=2",
              f"checkpoint_path={plain}/checkpoint_step000000002.pth")  # fmt: skip
    assert same(at(plain, 2).state_dict, at(gan, 4).state_dict)
    assert not same(at(gan, 4).state_dict, at(gan, 6).state_dict)


def test_the_warm_up_of_a_generator_that_goes_on_begins_after_the_turn_of_its_new_critic(noise_data, expert, tmp_path):
    plain = run("wav2lip", noise_data, tmp_path / "plain", expert, "max_steps=2", "checkpoint_interval=2")
    options = ["disc_warmup=2", "warmup=2", "checkpoint_interval=1", "max_steps=7", "eval_interval=100"]
    gan = run("wav2lip_gan", noise_data, tmp_path / "gan", expert, *options,
              f"checkpoint_path={plain}/checkpoint_step000000002.pth")  # fmt: skip
    # steps 3 and 4 are the critic's alone
    rates = [5e-5, 1e-4, 1e-4]
    assert [at(gan, step).optimizer["param_groups"][0]["lr"] for step in (5, 6, 7)] == pytest.approx(rates)
    again = run("wav2lip_gan", noise_data, tmp_path / "again", expert, *options,
                f"checkpoint_path={gan}/checkpoint_step000000004.pth",
                f"disc_checkpoint_path={gan}/disc_checkpoint_step000000004.pth")  # fmt: skip
    assert [at(again, step).optimizer["param_groups"][0]["lr"] for step in (5, 6, 7)] == pytest.approx(rates)


def test_weights_along_lines_are_in_the_curves_and_in_the_checkpoint(noise_data, expert, tmp_path):
    folder = run("wav2lip_gan", noise_data, tmp_path, expert, "syncnet_wt=[[0,0.0],[4,0.4]]",
                 "disc_wt=[[2,0.0],[4,0.2]]")  # fmt: skip
    assert list(curve(folder, "sync_weight").values()) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert list(curve(folder, "perceptual_weight").values()) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.2])
    sums = {name: curve(folder, name)[4] for name in ("loss", "l1", "sync", "perceptual")}
    assert sums["loss"] == pytest.approx(0.6 * sums["l1"] + 0.3 * sums["sync"] + 0.1 * sums["perceptual"], rel=1e-4)
    state = at(folder, 6).extras["step_state"]
    assert state["weights"] == pytest.approx({"sync": 0.4, "critic": 0.2, "features": 0, "l1": 0.4})
    assert state["weight_schedules"]["critic"] == [[2, 0.0], [4, 0.2]]


def test_a_heavier_mouth_and_features_are_learned_from_and_logged(noise_data, expert, tmp_path):
    torch.manual_seed(0)
    vgg = tmp_path / "vgg16.pth"
    torch.save({f"features.{key}": value for key, value in make_layers(cfgs["D"]).state_dict().items()}, vgg)
    folder = run("wav2lip", noise_data, tmp_path / "run", expert, "mouth_weight=3", f"perceptual_weights={vgg}",
                 "perceptual_wt=0.25", "max_steps=2")  # fmt: skip
    sums = {name: curve(folder, name)[2] for name in ("loss", "l1", "weighted_l1", "features")}
    assert sums["loss"] == pytest.approx(0.75 * sums["weighted_l1"] + 0.25 * sums["features"], rel=1e-4)
    assert sums["weighted_l1"] != pytest.approx(sums["l1"], rel=1e-6)


def test_the_perceptual_term_needs_its_weight_and_its_weights(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=r"perceptual_wt=0.1, perceptual_weights=None: one is nothing without"):
        run("wav2lip", noise_data, tmp_path, expert, "perceptual_wt=0.1")
