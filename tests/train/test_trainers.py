"""The three trainers, run small through their entry points: files, resume, interrupts, switches, bad input."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models import SyncNet, Wav2Lip
from tests.reference import tensor
from tests.train.conftest import ENTRY, run, same
from tests.train.test_losses_and_steps import generator_batch, loss_weights
from train.generator_step import GeneratorStep
from train.loop import Loop
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

CURVE = {"expert_distance", "expert_confidence", "expert_offset"}
SEEN = {"psnr_mouth", "ssim_mouth", "sharpness", "flicker", "flicker_of_truth"}
SCORES = {
    "syncnet": CURVE | {"loss", "accuracy", "accuracy_right", "accuracy_wrong", "auc", "cosine_right", "cosine_wrong"},
    "wav2lip": CURVE | SEEN | {"loss", "l1", "sync", "sync_of_truth", "sync_of_input", "l1_mouth"},
}
SCORES["wav2lip_gan"] = SCORES["wav2lip"] | {
    "perceptual", "critic_real", "critic_fake", "critic_accuracy_real", "critic_accuracy_fake",
}  # fmt: skip
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("trainer", ENTRY)
def test_a_run_writes_its_checkpoints_curves_and_pictures(trainer, noise_data, expert, tmp_path):
    folder = run(trainer, noise_data, tmp_path / "a" / "b", expert)
    names = ["best.pth", "checkpoint_step000000003.pth", "checkpoint_step000000006.pth", "last.pth"]
    if trainer == "wav2lip_gan":
        names += [f"disc_{name}" for name in names]
    assert sorted(path.name for path in folder.glob("*.pth")) == sorted(names)
    last = load_checkpoint(folder / "checkpoint_step000000006.pth")
    assert last.global_step == 6
    assert last.global_epoch == 6 * 4 // 2  # a pass is one sample per clip
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train/loss", "val/loss"} <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("val/loss")] == [3, 6]
    scored = {tag.removeprefix("val/") for tag in curves.Tags()["scalars"] if tag.startswith("val/")}
    assert SCORES[trainer] <= scored
    pictures = {"val/curve"} if trainer == "syncnet" else {"val", "val/curve"}
    assert set(curves.Tags()["images"]) == pictures


@pytest.mark.parametrize("trainer", ENTRY)
def test_a_run_that_goes_on_from_a_checkpoint_ends_bit_for_bit_like_one_in_one_piece(
    trainer, noise_data, expert, tmp_path
):
    options = ["syncnet_wt=0.1"] if trainer != "syncnet" else []
    whole = run(trainer, noise_data, tmp_path / "whole", expert, *options)
    first = run(trainer, noise_data, tmp_path / "first", expert, "max_steps=3", *options)
    go_on = [f"checkpoint_path={first}/checkpoint_step000000003.pth"]
    if trainer == "wav2lip_gan":
        go_on.append(f"disc_checkpoint_path={first}/disc_checkpoint_step000000003.pth")
    second = run(trainer, noise_data, tmp_path / "second", expert, *options, *go_on)
    for path in whole.glob("*step000000006.pth"):
        ours, theirs = load_checkpoint(path), load_checkpoint(second / path.name)
        assert same(ours.state_dict, theirs.state_dict)
        moments = [state.optimizer["state"][0]["exp_avg"] for state in (ours, theirs)]
        assert torch.equal(*moments)
        assert (ours.global_step, ours.global_epoch) == (theirs.global_step, theirs.global_epoch)


def test_the_sync_loss_once_switched_on_stays_on_after_a_resume_except_in_the_release(noise_data, expert, tmp_path):
    on = run("wav2lip", noise_data, tmp_path / "on", expert, "sync_threshold=100", "max_steps=3")
    path = on / "checkpoint_step000000003.pth"
    assert load_checkpoint(path).extras["step_state"]["sync_on"]
    again = ["sync_threshold=0", f"checkpoint_path={path}"]
    for compat, on in (("none", True), ("public", False)):
        folder = run("wav2lip", noise_data, tmp_path / compat, expert, f"compat={compat}", *again)
        last = load_checkpoint(folder / "checkpoint_step000000006.pth")
        assert last.extras["step_state"]["sync_on"] == on


@pytest.mark.parametrize(("trainer", "validated"), [("syncnet", []), ("wav2lip", [1]), ("wav2lip_gan", [])])
def test_the_release_saves_after_the_first_step_too_and_one_trainer_validates(
    trainer, validated, noise_data, expert, tmp_path
):
    folder = run(trainer, noise_data, tmp_path, expert, "compat=public", "max_steps=2")
    assert (folder / "checkpoint_step000000001.pth").exists()
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [e.step for e in (curves.Scalars("val/loss") if "val/loss" in curves.Tags()["scalars"] else [])] == validated


@pytest.mark.parametrize(("compat", "same_each_time"), [("none", True), ("public", False)])
def test_validation_scores_the_same_windows_each_time_except_in_the_release(
    compat, same_each_time, noise_data, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(Loop, "run", lambda loop: seen.extend(list(loop.val_batches(step)) for step in (3, 6)) or 0)
    run("syncnet", noise_data, tmp_path, None, f"compat={compat}")
    first, second = seen
    assert len(first) == 2  # eight windows in batches of four
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, second, strict=True)) == same_each_time


def test_fine_tuning_takes_the_weights_alone(noise_data, expert, tmp_path):
    first = run("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3", "learning_rate=0.01")
    path = f"checkpoint_path={first}/checkpoint_step000000003.pth"
    tuned = run("syncnet", noise_data, tmp_path / "tuned", expert, path, "reset_optimizer=true", "max_steps=1",
                "learning_rate=0")  # fmt: skip
    ours = load_checkpoint(tuned / "checkpoint_step000000001.pth")
    assert ours.optimizer["state"][0]["step"] == 1
    given = load_checkpoint(first / "checkpoint_step000000003.pth").state_dict
    weights = [key for key in given if key.endswith("0.weight")]
    assert same({key: given[key] for key in weights}, {key: ours.state_dict[key] for key in weights})


def test_the_same_fine_tuning_command_begins_from_the_weights_and_after_a_stop_goes_on(noise_data, expert, tmp_path):
    first = run("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3") / "checkpoint_step000000003.pth"
    command = ["recipe=finetune", f"checkpoint_path={first}", "resume=true", "warmup=0", "lr_schedule=constant"]
    whole = run("syncnet", noise_data, tmp_path / "whole", expert, *command, "max_steps=6")
    run("syncnet", noise_data, tmp_path / "parts", expert, *command, "max_steps=3")
    parts = run("syncnet", noise_data, tmp_path / "parts", expert, *command, "max_steps=6")
    ours, theirs = (load_checkpoint(folder / "checkpoint_step000000006.pth") for folder in (whole, parts))
    assert same(ours.state_dict, theirs.state_dict)
    assert ours.optimizer["state"][0]["step"] == theirs.optimizer["state"][0]["step"] == 6  # a fresh optimizer's


def test_the_first_start_with_resume_takes_generator_and_critic_from_their_files(noise_data, expert, tmp_path):
    first = run("wav2lip_gan", noise_data, tmp_path / "first", expert, "max_steps=3")
    files = [f"{key}={first}/{prefix}last.pth" for key, prefix in
             (("checkpoint_path", ""), ("disc_checkpoint_path", "disc_"))]  # fmt: skip
    again = run("wav2lip_gan", noise_data, tmp_path / "again", expert, *files, "resume=true", "max_steps=4",
                "learning_rate=0")  # fmt: skip
    ours, theirs = (load_checkpoint(folder / "disc_last.pth").state_dict for folder in (first, again))
    assert same(ours, theirs)  # a critic has no statistics that a step without a rate would change


def test_a_resume_goes_on_from_what_was_saved_last_not_from_an_earlier_run_of_more_steps(noise_data, expert, tmp_path):
    run("syncnet", noise_data, tmp_path, expert)  # six steps
    run("syncnet", noise_data, tmp_path, expert, "max_steps=3", "seed=1")
    newer = load_checkpoint(tmp_path / "checkpoint_step000000003.pth")
    run("syncnet", noise_data, tmp_path, expert, "max_steps=4", "seed=1", "resume=true", "learning_rate=0")
    last = load_checkpoint(tmp_path / "last.pth")
    assert last.global_step == 4
    weights = [key for key in newer.state_dict if key.endswith("0.weight")]
    own = last.extras["own_weights"], newer.extras["own_weights"]
    assert all(torch.equal(own[0][key], own[1][key]) for key in weights)


def test_what_is_frozen_keeps_its_weights_and_statistics_and_the_rest_learns(noise_data, expert, tmp_path):
    first = run("syncnet", noise_data, tmp_path / "first", expert, "max_steps=1", "ema=null")
    path = first / "checkpoint_step000000001.pth"
    tuned = run("syncnet", noise_data, tmp_path / "tuned", expert, "max_steps=3", "ema=null", "freeze=[audio_encoder]",
                f"checkpoint_path={path}")  # fmt: skip
    before, after = (load_checkpoint(f).state_dict for f in (path, tuned / "checkpoint_step000000003.pth"))
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"face_encoder"}
    assert all(not torch.equal(before[k], after[k]) for k in before if k.startswith("face") and "running_mean" in k)


@pytest.mark.parametrize(("compat", "rate"), [("none", 5e-5), ("public", 1e-4)])
def test_a_resume_takes_the_rate_of_the_config_or_in_the_release_that_of_the_file(
    compat, rate, noise_data, expert, tmp_path
):
    first = run("syncnet", noise_data, tmp_path / "first", expert, "recipe=public", "max_steps=3")
    folder = run("syncnet", noise_data, tmp_path / "second", expert, f"compat={compat}", "recipe=public",
                 "learning_rate=5e-5", f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    optimizer = load_checkpoint(folder / "checkpoint_step000000006.pth").optimizer
    assert optimizer["param_groups"][0]["lr"] == rate


def test_a_cosine_schedule_falls_along_half_a_cosine(noise_data, expert, tmp_path):
    folder = run(
        "syncnet", noise_data, tmp_path, expert, "recipe=public", "lr_schedule=cosine", "checkpoint_interval=1"
    )
    rates = [load_checkpoint(folder / f"checkpoint_step{n:09d}.pth").optimizer["param_groups"][0]["lr"]
             for n in range(1, 7)]  # fmt: skip
    # (1 + cos(pi n / 6)) / 2 for n = 0..5
    assert rates == pytest.approx([1e-4, 0.9330127e-4, 0.75e-4, 0.5e-4, 0.25e-4, 0.0669873e-4])


def test_a_public_checkpoint_of_an_old_torch_is_taken_up(noise_data, expert, tmp_path):
    network = Wav2Lip(width=0.125)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 1000, "global_epoch": 9},
               tmp_path / "wav2lip.pth", _use_new_zipfile_serialization=False)  # fmt: skip
    folder = run("wav2lip", noise_data, tmp_path / "run", expert, f"checkpoint_path={tmp_path}/wav2lip.pth",
                 "max_steps=1002")  # fmt: skip
    assert load_checkpoint(folder / "checkpoint_step000001002.pth").global_epoch == 9 + 2 * 4 // 2


@pytest.mark.parametrize("training_mode", [False, True])
def test_the_frozen_expert_is_bit_for_bit_the_same_after_training_except_in_the_release(training_mode):
    torch.manual_seed(0)
    expert, generator, fabric = SyncNet(width=0.125), Wav2Lip(width=0.125), Fabric(accelerator="cpu", devices=1)
    before = {key: value.clone() for key, value in expert.state_dict().items()}
    step = GeneratorStep(fabric, fabric.setup(generator), expert, loss_weights(0.5),
                         expert_training_mode=training_mode)  # fmt: skip
    step.backward(generator_batch(torch.float32))
    step.validate([generator_batch(torch.float32)])
    assert same(before, expert.state_dict()) != training_mode


def test_while_its_weight_is_zero_the_expert_is_not_asked():
    class Silent(torch.nn.Module):
        def forward(self, *_):
            raise AssertionError("asked")

    fabric = Fabric(accelerator="cpu", devices=1)
    generator = Wav2Lip(width=0.0625)
    step = GeneratorStep(fabric, fabric.setup(generator), Silent(), loss_weights(0.0, 0.1))
    losses = step.backward(generator_batch(torch.float32))
    assert losses["loss"] == losses["l1"]
    step.after_validation({"sync": 0.76})
    assert step.weights.sync == 0
    step.after_validation({"sync": 0.74})
    assert step.weights.sync == 0.1


def test_sync_loss_of_truth_and_input_are_those_of_the_frames_themselves():
    fabric, expert = Fabric(accelerator="cpu", devices=1), SyncNet(width=0.125).eval()
    batch = generator_batch(torch.float32)
    step = GeneratorStep(fabric, Wav2Lip(width=0.0625), expert, loss_weights(0.0, 0.1))
    scores = step.validate([batch])
    with torch.no_grad():
        audio, face = expert(batch.window_mel, batch.target[..., 48:, :].transpose(1, 2).reshape(4, 15, 48, 96))
        references = tensor(100010, (4, 6, 5, 96, 96))[:, 3:, :, 48:].transpose(1, 2).reshape(4, 15, 48, 96)
        _, other = expert(batch.window_mel, references)
    by_hand = [-(audio * f).sum(1).clamp(max=1).log().mean().item() for f in (face, other)]
    assert [scores["sync_of_truth"], scores["sync_of_input"]] == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 0)])
def test_an_interrupt_saves_before_leaving(number, workers, noise_data, tmp_path):
    command = [sys.executable, "-m", "train.syncnet", f"data_root={noise_data}", f"checkpoint_dir={tmp_path}",
               "debug=tiny", "max_steps=1000000", "eval_interval=1000000", "checkpoint_interval=1000000",
               "data=clips", f"num_workers={workers}"]  # fmt: skip
    said = tmp_path / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, start_new_session=True)
    while "step 1/1000000 | loss" not in said.read_text() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, number)  # as a terminal and a batch system do: workers get it too
    process.wait(timeout=120)
    errors = said.read_text()
    assert process.returncode == 128 + number, errors
    (path,) = tmp_path.glob("checkpoint_step*.pth")
    assert load_checkpoint(path).global_step > 0
    assert f"saved {path}, resume=true goes on" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("overrides", "sentence"), [
    (["data_root=/nowhere"], "/nowhere: no such folder"),
    (["filelists=/nowhere"], "/nowhere/train.txt: no such file list"),
    (["syncnet_checkpoint_path=/nowhere/x.pth"], "/nowhere/x.pth: no such checkpoint"),
    (["checkpoint_path={expert}"], "does not fit Wav2Lip; it holds a SyncNet expert"),
    (["lr_schedule=cosine", "max_steps=null"], "lr_schedule=cosine falls to 0 at max_steps"),
    (["recipe=finetune"], "(as recipe=finetune has it) begins from weights; add checkpoint_path=FILE"),
    (["betas=[0.9]"], "betas=[0.9]: Adam takes two"),
    (["learning_rate=-1"], "learning_rate=-1: is below 0"),
    (["num_workers=-1"], "num_workers=-1: give a number of processes"),
    (["seed=-1"], "seed=-1: give a whole number from 0 up"),
    (["mouth_weight=-1"], "mouth_weight=-1: give a number above 0"),
    (["sync_ramp=-5"], "sync_ramp=-5: give a whole number from 0 up"),
    (["freeze=[face_encoder_blocks,audio_encoder,face_decoder_blocks,output_block]"], "leaves nothing to train"),
    (["freeze=[ear]"], "freeze=[ear]: ear is no part; there are face_encoder_blocks, audio_encoder"),
    (["device=tpuu"], "device=tpuu"),
    (["checkpoint_dir={expert}"], "expert.pth: cannot be written (File exists); choose another checkpoint_dir"),
    (["eval_interval=0"], "eval_interval=0: give a whole number from 1 up"),
    (["eval_windows=0"], "eval_windows=0: give at least one"),
])  # fmt: skip
def test_bad_input_is_one_sentence(overrides, sentence, noise_data, expert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(sentence)):
        run("wav2lip", noise_data, tmp_path, expert, *(text.format(expert=expert) for text in overrides))


@pytest.mark.parametrize(("arguments", "sentence"), [
    ([], "error: checkpoint_dir is not given; add checkpoint_dir=... to the command"),
    (["data_rot=x"], "error: config: Could not override 'data_rot'"),
    (["data_root=/nowhere", "checkpoint_dir={tmp_path}", "filelists=y"], "error: /nowhere: no such folder"),
])  # fmt: skip
def test_bad_input_on_the_command_line_is_one_sentence_with_exit_code_2(arguments, sentence, tmp_path):
    arguments = [text.format(tmp_path=tmp_path) for text in arguments]
    done = subprocess.run([sys.executable, "-m", "train.syncnet", *arguments], capture_output=True, text=True,
                          cwd=ROOT)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.strip().splitlines()) == 1


def test_several_runs_at_once_are_refused_instead_of_stopping_after_the_first():
    command = [sys.executable, "-m", "train.syncnet", "--multirun", "seed=1,2", "data_root=x", "checkpoint_dir=y"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "error: --multirun is not for this command" in done.stderr


def test_a_configured_sync_weight_counts_after_a_resume(noise_data, expert, tmp_path):
    first = run("wav2lip", noise_data, tmp_path / "first", expert, "max_steps=3")
    folder = run("wav2lip", noise_data, tmp_path / "second", expert, "syncnet_wt=0.5", "sync_threshold=0",
                 f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    curves = EventAccumulator(str(folder / "tensorboard")).Reload()
    loss, l1, sync = (curves.Scalars(f"train/{name}")[-1].value for name in ("loss", "l1", "sync"))
    assert loss == pytest.approx(0.5 * l1 + 0.5 * sync, rel=1e-4)


def test_going_on_past_the_end_says_so_and_changes_nothing(noise_data, expert, tmp_path, caplog):
    first = run("syncnet", noise_data, tmp_path / "first", expert, "max_steps=3")
    caplog.set_level("INFO", logger="train")
    again = run("syncnet", noise_data, tmp_path / "again", expert, "max_steps=2",
                f"checkpoint_path={first}/checkpoint_step000000003.pth")  # fmt: skip
    assert "nothing to do: step 3" in caplog.text
    assert not list(again.glob("*.pth"))
