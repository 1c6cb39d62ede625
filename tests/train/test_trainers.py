"""The three trainers, run small through their entry points: files, resume, compat switches, bad input."""

import re

import pytest
import torch

import train.syncnet
from models import SyncNet, Wav2Lip
from tests.helpers.commands import run_main
from tests.helpers.trainers import TRAINERS, is_equal, load_step, open_log, run_trainer
from tests.helpers.training import cpu_fabric, generator_batch, loss_weights
from train.steps.generator import GeneratorStep
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

CURVE = {"expert_distance", "expert_confidence", "expert_offset"}
QUALITY = {"psnr_mouth", "ssim_mouth", "sharpness", "flicker", "flicker_of_truth"}
SCORES = {
    "syncnet": CURVE | {"loss", "accuracy", "accuracy_right", "accuracy_wrong", "auc", "cosine_right", "cosine_wrong"},
    "wav2lip": CURVE | QUALITY | {"loss", "l1", "sync", "sync_of_truth", "sync_of_input", "l1_mouth"},
}
SCORES["wav2lip_gan"] = SCORES["wav2lip"] | {
    "gan_generator", "disc_real", "disc_fake", "disc_accuracy_real", "disc_accuracy_fake",
}  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS)
def test_run_writes_checkpoints_curves_and_images(trainer, noise_data, expert, tmp_path):
    folder = run_trainer(trainer, noise_data, tmp_path / "a" / "b", expert)
    names = ["best.pth", "checkpoint_step000000003.pth", "checkpoint_step000000006.pth", "last.pth"]
    if trainer == "wav2lip_gan":
        names += [f"disc_{name}" for name in names]
    assert sorted(path.name for path in folder.glob("*.pth")) == sorted(names)
    last = load_step(folder, 6)
    assert last.global_step == 6
    assert last.global_epoch == 6 * 4 // 2  # an epoch is one sample per clip
    curves = open_log(folder)
    assert {"train/loss", "val/loss"} <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("val/loss")] == [3, 6]
    metrics = {tag.removeprefix("val/") for tag in curves.Tags()["scalars"] if tag.startswith("val/")}
    assert SCORES[trainer] <= metrics
    assert set(curves.Tags()["images"]) == ({"val/curve"} if trainer == "syncnet" else {"val", "val/curve"})


@pytest.mark.parametrize("trainer", TRAINERS)
def test_resumed_run_ends_bit_for_bit_the_same(trainer, noise_data, expert, tmp_path):
    options = ["syncnet_wt=0.1"] if trainer != "syncnet" else []
    uninterrupted = run_trainer(trainer, noise_data, tmp_path / "whole", expert, *options)
    first = run_trainer(trainer, noise_data, tmp_path / "first", expert, "max_steps=3", *options)
    files = [f"checkpoint_path={first}/checkpoint_step000000003.pth"]
    if trainer == "wav2lip_gan":
        files.append(f"disc_checkpoint_path={first}/disc_checkpoint_step000000003.pth")
    second = run_trainer(trainer, noise_data, tmp_path / "second", expert, *options, *files)
    for path in uninterrupted.glob("*step000000006.pth"):
        expected, actual = load_checkpoint(path), load_checkpoint(second / path.name)
        assert is_equal(expected.state_dict, actual.state_dict)
        assert torch.equal(*(state.optimizer["state"][0]["exp_avg"] for state in (expected, actual)))
        assert (expected.global_step, expected.global_epoch) == (actual.global_step, actual.global_epoch)


def test_sync_loss_stays_on_after_a_resume_unless_as_upstream(noise_data, expert, tmp_path):
    on = run_trainer("wav2lip", noise_data, tmp_path / "on", expert, "sync_threshold=100", "max_steps=3")
    assert load_step(on, 3).extras["train_step"]["sync_on"]
    overrides = ["sync_threshold=0", f"checkpoint_path={on}/checkpoint_step000000003.pth"]
    for compat, is_on in (("none", True), ("public", False)):
        folder = run_trainer("wav2lip", noise_data, tmp_path / compat, expert, f"compat={compat}", *overrides)
        assert load_step(folder, 6).extras["train_step"]["sync_on"] == is_on


@pytest.mark.parametrize(("trainer", "steps"), [("syncnet", []), ("wav2lip", [1]), ("wav2lip_gan", [])])
def test_upstream_saves_after_step_one(trainer, steps, noise_data, expert, tmp_path):
    folder = run_trainer(trainer, noise_data, tmp_path, expert, "compat=public", "max_steps=2")
    assert (folder / "checkpoint_step000000001.pth").exists()
    curves = open_log(folder)
    points = curves.Scalars("val/loss") if "val/loss" in curves.Tags()["scalars"] else []
    assert [event.step for event in points] == steps


def test_reset_optimizer_takes_the_weights_alone(noise_data, expert, tmp_path):
    first = run_trainer("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3", "learning_rate=0.01")
    path = f"checkpoint_path={first}/checkpoint_step000000003.pth"
    overrides = [path, "reset_optimizer=true", "max_steps=1", "learning_rate=0"]
    finetuned = run_trainer("syncnet", noise_data, tmp_path / "tuned", expert, *overrides)
    finetuned_step, first_weights = load_step(finetuned, 1), load_step(first, 3).state_dict
    assert finetuned_step.optimizer["state"][0]["step"] == 1
    weights = [key for key in first_weights if key.endswith("0.weight")]
    assert is_equal(
        {key: first_weights[key] for key in weights}, {key: finetuned_step.state_dict[key] for key in weights}
    )


def test_generator_of_larger_resolution_starts_from_a_smaller_one(noise_data, expert, tmp_path):
    small = run_trainer("wav2lip", noise_data, tmp_path / "small", expert, "max_steps=1")
    larger = ["model=wav2lip_192", f"checkpoint_path={small}/last.pth", "max_steps=1", "learning_rate=0"]
    large = run_trainer("wav2lip", noise_data, tmp_path / "large", expert, *larger, "reset_optimizer=true")
    key = "face_decoder_blocks.6.0.conv_block.0.weight"
    assert torch.equal(load_step(large, 1).state_dict[key], load_step(small, 1).state_dict[key])
    with pytest.raises(InputError, match="faces of 96 pixels, the trained network of 192; add reset_optimizer=true"):
        run_trainer("wav2lip", noise_data, tmp_path / "kept", expert, *larger)


def test_fine_tuning_command_resumes_when_repeated(noise_data, expert, tmp_path):
    first = run_trainer("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3")
    command = ["recipe=finetune", f"checkpoint_path={first}/checkpoint_step000000003.pth", "resume=true",
               "warmup_steps=0", "lr_schedule=constant"]  # fmt: skip
    uninterrupted = run_trainer("syncnet", noise_data, tmp_path / "whole", expert, *command, "max_steps=6")
    run_trainer("syncnet", noise_data, tmp_path / "parts", expert, *command, "max_steps=3")
    parts = run_trainer("syncnet", noise_data, tmp_path / "parts", expert, *command, "max_steps=6")
    expected, actual = load_step(uninterrupted, 6), load_step(parts, 6)
    assert is_equal(expected.state_dict, actual.state_dict)
    assert expected.optimizer["state"][0]["step"] == actual.optimizer["state"][0]["step"] == 6  # of a fresh optimizer


def test_first_start_with_resume_loads_both_models(noise_data, expert, tmp_path):
    first = run_trainer("wav2lip_gan", noise_data, tmp_path / "first", expert, "max_steps=3")
    files = [f"checkpoint_path={first}/last.pth", f"disc_checkpoint_path={first}/disc_last.pth"]
    overrides = run_trainer("wav2lip_gan", noise_data, tmp_path / "again", expert, *files, "resume=true", "max_steps=4",
                        "learning_rate=0")  # fmt: skip
    # The discriminator has no statistics that a step with rate 0 would change.
    assert is_equal(*(load_checkpoint(folder / "disc_last.pth").state_dict for folder in (first, overrides)))


def test_resume_ignores_later_steps_of_an_earlier_run(noise_data, expert, tmp_path):
    run_trainer("syncnet", noise_data, tmp_path, expert)  # six steps
    run_trainer("syncnet", noise_data, tmp_path, expert, "max_steps=3", "seed=1")
    newer_weights = load_step(tmp_path, 3).extras["own_weights"]
    run_trainer("syncnet", noise_data, tmp_path, expert, "max_steps=4", "seed=1", "resume=true", "learning_rate=0")
    last = load_checkpoint(tmp_path / "last.pth")
    assert last.global_step == 4
    weights = [key for key in newer_weights if key.endswith("0.weight")]
    assert all(torch.equal(last.extras["own_weights"][key], newer_weights[key]) for key in weights)


@pytest.mark.parametrize(("compat", "rate"), [("none", 5e-5), ("public", 1e-4)])
def test_resume_takes_the_configured_rate_unless_as_upstream(compat, rate, noise_data, expert, tmp_path):
    first = run_trainer("syncnet", noise_data, tmp_path / "first", expert, "recipe=public", "max_steps=3")
    folder = run_trainer("syncnet", noise_data, tmp_path / "second", expert, f"compat={compat}", "recipe=public",
                         "learning_rate=5e-5", f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    assert load_step(folder, 6).optimizer["param_groups"][0]["lr"] == rate


def test_run_starts_from_an_upstream_checkpoint_of_old_torch(noise_data, expert, tmp_path):
    network = Wav2Lip(width=0.125)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 1000, "global_epoch": 9},
               tmp_path / "wav2lip.pth", _use_new_zipfile_serialization=False)  # fmt: skip
    folder = run_trainer("wav2lip", noise_data, tmp_path / "run", expert, f"checkpoint_path={tmp_path}/wav2lip.pth",
                         "max_steps=1002")  # fmt: skip
    assert load_step(folder, 1002).global_epoch == 9 + 2 * 4 // 2


@pytest.mark.parametrize("training_mode", [False, True])
def test_frozen_expert_is_unchanged_unless_as_upstream(training_mode):
    torch.manual_seed(0)
    expert, generator, fabric = SyncNet(width=0.125), Wav2Lip(width=0.125), cpu_fabric()
    before = {key: value.clone() for key, value in expert.state_dict().items()}
    step = GeneratorStep(fabric, fabric.setup(generator), expert, loss_weights(0.5),
                         expert_training_mode=training_mode)  # fmt: skip
    step.backward(generator_batch(torch.float32))
    step.validate([generator_batch(torch.float32)])
    assert is_equal(before, expert.state_dict()) != training_mode


def test_expert_does_not_run_while_its_weight_is_zero():
    class FailingExpert(torch.nn.Module):
        def forward(self, *_):
            raise AssertionError("the expert ran")

    fabric = cpu_fabric()
    step = GeneratorStep(fabric, fabric.setup(Wav2Lip(width=0.0625)), FailingExpert(), loss_weights(0.0, 0.1))
    losses = step.backward(generator_batch(torch.float32))
    assert losses["loss"] == losses["l1"]
    step.on_validation({"sync": 0.76})
    assert step.weights.syncnet == 0
    step.on_validation({"sync": 0.74})
    assert step.weights.syncnet == 0.1


def test_configured_sync_weight_counts_after_a_resume(noise_data, expert, tmp_path):
    first = run_trainer("wav2lip", noise_data, tmp_path / "first", expert, "max_steps=3")
    folder = run_trainer("wav2lip", noise_data, tmp_path / "second", expert, "syncnet_wt=0.5", "sync_threshold=0",
                         f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    curves = open_log(folder)
    loss, l1, sync = (curves.Scalars(f"train/{name}")[-1].value for name in ("loss", "weighted_l1", "sync"))
    assert loss == pytest.approx(0.5 * l1 + 0.5 * sync, rel=1e-4)


@pytest.mark.parametrize(("overrides", "message"), [
    (["data_root=/nowhere"], "/nowhere: "),
    (["filelists=/nowhere"], "/nowhere/train.txt: "),
    (["syncnet_checkpoint_path=/nowhere/x.pth"], "/nowhere/x.pth: "),
    (["checkpoint_path={expert}"], "must contain a Wav2Lip"),
    (["lr_schedule=cosine", "max_steps=null"], "max_steps"),
    (["recipe=finetune"], "checkpoint_path=FILE"),
    (["betas=[0.9]"], "betas=[0.9]"),
    (["learning_rate=-1"], "learning_rate=-1"),
    (["num_workers=-1"], "num_workers=-1"),
    (["seed=-1"], "seed=-1"),
    (["mouth_weight=-1"], "mouth_weight=-1"),
    (["sync_ramp_steps=-5"], "sync_ramp_steps=-5"),
    (["sync_start=1"], "sync_start=1"),
    (["sync_start=0.5", "max_steps=null"], "sync_start=0.5: is a share of max_steps"),
    (["augmentation_start=1"], "augmentation_start=1"),
    (["augmentation_start=0.5", "max_steps=null"], "augmentation_start=0.5: is a share of max_steps"),
    (["freeze=[face_encoder_blocks,audio_encoder,face_decoder_blocks,output_block]"], "nothing to train"),
    (["freeze=[ear]"], "freeze=[ear]"),
    (["device=tpuu"], "device=tpuu"),
    (["checkpoint_dir={expert}"], "expert.pth"),
    (["eval_interval=0"], "eval_interval=0"),
    (["eval_windows=0"], "eval_windows=0"),
])  # fmt: skip
def test_bad_input_is_one_error(overrides, message, noise_data, expert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = [text.format(expert=expert) for text in overrides]
    with pytest.raises(InputError, match=re.escape(message)):
        run_trainer("wav2lip", noise_data, tmp_path, expert, *overrides)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "error: .*checkpoint_dir"),
    (["data_rot=x"], "error: .*data_rot"),
    (["data_root=/nowhere", "checkpoint_dir={tmp_path}", "filelists=y"], "error: .*/nowhere: no such folder"),
])  # fmt: skip
def test_bad_command_line_has_exit_code_2(arguments, message, tmp_path):
    arguments = [text.format(tmp_path=tmp_path) for text in arguments]
    process = run_main(train.syncnet.main, *arguments)
    assert process.returncode == 2
    assert re.match(message, process.stderr)
    assert len(process.stderr.strip().splitlines()) == 1


def test_multirun_is_rejected():
    process = run_main(train.syncnet.main, "--multirun", "seed=1,2", "data_root=x", "checkpoint_dir=y")
    assert process.returncode == 2
    assert "--multirun" in process.stderr
