"""Anomalies in the means, and the reaction to them: warning, stop, rollback."""

import math

import pytest
import torch
from torch import nn

from tests.helpers.trainers import exit_code, is_equal, load_step
from tests.helpers.training import cpu_fabric
from train.callbacks.divergence import Anomaly, DivergenceMonitor
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.state import RunningMeans, TrainState
from train.steps.generator import GeneratorStep
from train.trainable import TrainableModel
from wav2lip.errors import InputError

HEALTHY = {"loss": 0.1, "sync": 0.5, "gan_generator": 0.9, "disc_wt": 0.07, "disc_real": 0.5, "disc_fake": 0.6}
WON = {"disc_real": 0.001, "disc_fake": 0.001}


def check_steps(monitor, means, steps):
    return [monitor.check(step, HEALTHY | means) for step in steps]


def build_monitor(**settings):
    return DivergenceMonitor(None, **settings)


def test_healthy_means_are_no_anomaly():
    assert check_steps(build_monitor(patience=1), {}, range(50, 500, 50)) == [None] * 9


@pytest.mark.parametrize(("means", "kind", "figures"), [
    ({"disc_real": 0.0021, "disc_fake": 0.0009, "gan_generator": 7.0}, "discriminator won",
     ["0.0021 on real", "0.0009 on generated", "disc_learning_rate"]),
    ({"gan_generator": 40.0, "disc_fake": 1e-9}, "discriminator won", []),
    ({"disc_real": 0.0, "disc_fake": 55.5}, "discriminator collapsed", ["55.5000 on generated"]),
    ({"disc_real": 0.6931, "disc_fake": 0.6932}, "discriminator at chance", ["0.6931 at chance"]),
    # The same probability for all frames: -ln 0.49 = 0.713, -ln 0.51 = 0.673.
    ({"disc_real": 0.713, "disc_fake": 0.673}, "discriminator at chance", ["disc_init=he"]),
    ({"sync": 0.76}, "sync loss diverged", ["0.760", "0.500 at step 50"]),
])  # fmt: skip
def test_lasting_anomaly_is_reported_once(means, kind, figures):
    monitor = build_monitor(patience=3)
    monitor.check(50, HEALTHY)
    anomalies = check_steps(monitor, means, range(100, 400, 50))
    assert [anomaly is not None for anomaly in anomalies] == [False, False, True, False, False, False]
    assert (anomalies[2].kind, anomalies[2].last_good_step) == (kind, 50)
    assert all(figure in anomalies[2].message for figure in [*figures, "since step 50"])


@pytest.mark.parametrize("means", [WON, {"sync": 3.0}])
def test_passing_anomaly_is_not_reported(means):
    monitor = build_monitor(patience=3)
    monitor.check(50, HEALTHY)
    anomalies = (
        check_steps(monitor, means, (100, 150))
        + check_steps(monitor, {}, (200,))
        + check_steps(monitor, means, (250, 300))
    )
    assert anomalies == [None] * 5


def test_small_sync_loss_may_rise_by_noise():
    monitor = build_monitor(patience=1)
    assert check_steps(monitor, {"sync": 0.02}, (50,)) + check_steps(monitor, {"sync": 0.1}, (100,)) == [None, None]


def test_discriminator_may_win_while_it_trains_alone():
    assert build_monitor(patience=1).check(50, WON | {"gan_generator": 9.0}) is None


def test_constant_scores_with_another_loss_have_another_chance_level():
    constant = {"disc_real": 0.87, "disc_fake": 1.13}  # the same score of 0.13 for all frames
    assert build_monitor(patience=1).check(50, HEALTHY | constant) is None
    anomaly = build_monitor(patience=1, chance_loss=1.0).check(50, HEALTHY | constant)
    assert anomaly.kind == "discriminator at chance"
    assert "1.0000 at chance" in anomaly.message


def test_nonfinite_mean_is_fatal_at_once():
    monitor = build_monitor()
    monitor.check(50, HEALTHY)
    anomaly = monitor.check(100, HEALTHY | {"l1": math.nan})
    assert all(text in anomaly.message for text in ("l1", "nan", "step 100", "step 50"))
    assert monitor.choose_action(anomaly) == "stop"


def test_infinite_gradient_norm_is_allowed_with_a_loss_scaler():
    means = HEALTHY | {"gradient_norm": math.inf}
    assert build_monitor(skips_nonfinite=True).check(50, means) is None
    assert build_monitor(skips_nonfinite=False).check(50, means) is not None


def test_undone_steps_stay_undone_after_a_resume():
    monitor = build_monitor(action="rollback", patience=3)
    monitor.check(50, HEALTHY)
    anomaly = check_steps(monitor, WON, (100, 150, 200))[-1]
    monitor.record_rollback(anomaly, 200)
    resumed = build_monitor(action="rollback", patience=3)
    resumed.load_state_dict(monitor.state_dict())
    assert [resumed.is_good(step) for step in (50, 51, 200, 201)] == [True, False, False, True]


def test_two_simultaneous_anomalies_are_both_reported():
    monitor = build_monitor(patience=2)
    monitor.check(50, HEALTHY)
    anomalies = check_steps(monitor, WON | {"sync": 2.0}, (100, 150, 200, 250))
    assert {anomaly.kind for anomaly in anomalies if anomaly} == {"discriminator won", "sync loss diverged"}
    assert sum(anomaly is not None for anomaly in anomalies) == 2


def test_resumed_monitor_acts_as_one_that_never_stopped():
    uninterrupted, first = build_monitor(patience=3), build_monitor(patience=3)
    for monitor in (uninterrupted, first):
        monitor.check(50, HEALTHY)
        check_steps(monitor, {"sync": 2.0}, (100, 150))
    second = build_monitor(patience=3)
    second.load_state_dict(first.state_dict())
    anomalies = [monitor.check(200, HEALTHY | {"sync": 2.0}) for monitor in (uninterrupted, second)]
    assert anomalies[0] == anomalies[1] is not None


class NoState:
    def state_dict(self):
        return {}


def test_rollbacks_lower_the_rate_of_the_faulty_model_and_end(tmp_path):
    fabric = cpu_fabric()
    models = []
    for prefix in ("", "disc_"):
        network = nn.Linear(1, 1)
        models.append(TrainableModel(network, torch.optim.Adam(network.parameters(), lr=1e-3), prefix))
    manager = CheckpointManager(fabric, TrainState(NoState(), RunningMeans(fabric)), models, tmp_path)
    manager.save()
    monitor = DivergenceMonitor(manager, action="rollback", patience=1, max_rollbacks=2, lr_backoff=0.5)
    for factor in (0.5, 0.25):
        manager.state.step += 100
        monitor.on_log(manager.state, HEALTHY | WON)
        assert manager.state.lr_factors == {"disc_": factor}
        assert [model.learning_rates()[0] for model in models] == pytest.approx([1e-3, factor * 1e-3])
    assert monitor.choose_action(monitor.check(300, HEALTHY | WON)) == "stop"


def run(data, folder, expert, *overrides):
    return exit_code("wav2lip", data, folder, expert, "batch_size=2", "checkpoint_interval=1", "eval_interval=100",
                     *overrides)  # fmt: skip


def test_nonfinite_weights_end_the_run_and_are_not_saved(noise_data, expert, tmp_path, caplog):
    assert run(noise_data, tmp_path, expert, "learning_rate=1e30") == 1
    last = max(tmp_path.glob("checkpoint_step*.pth"))
    assert all(value.isfinite().all() for value in load_step(tmp_path, int(last.stem[-9:])).state_dict.values())
    assert "stopped at step" in caplog.text
    assert f"last good checkpoint: {last}" in caplog.text


@pytest.fixture
def nan_at_step_five(monkeypatch):
    """Make the gradients of the fifth step NaN."""
    set_step, backward = GeneratorStep.set_step, GeneratorStep.backward

    def record_step(step, number):
        step.number = number
        set_step(step, number)

    def fill_with_nan(step, *arguments):
        losses = backward(step, *arguments)
        for parameter in step.generator.parameters() if step.number == 4 else ():
            parameter.grad.fill_(math.nan)
        return losses

    monkeypatch.setattr(GeneratorStep, "set_step", record_step)
    monkeypatch.setattr(GeneratorStep, "backward", fill_with_nan)


@pytest.mark.usefixtures("nan_at_step_five")
def test_rollback_halves_the_rate_and_survives_a_resume(noise_data, expert, tmp_path, caplog):
    options = ["health.action=rollback", "ema_decay=0.5"]
    uninterrupted = tmp_path / "whole"
    assert run(noise_data, uninterrupted, expert, *options) == 0
    assert f"Rolled back to {uninterrupted}/checkpoint_step000000004.pth, learning_rate times 0.5" in caplog.text
    assert is_equal(load_step(uninterrupted, 4).state_dict, load_step(uninterrupted, 5).state_dict)
    assert not is_equal(load_step(uninterrupted, 5).state_dict, load_step(uninterrupted, 6).state_dict)
    assert load_step(uninterrupted, 6).optimizer["param_groups"][0]["lr"] == pytest.approx(5e-5)
    for step in (3, 5):  # killed before the rollback, or after it
        resumed = tmp_path / str(step)
        assert (
            run(noise_data, resumed, expert, *options, f"checkpoint_path={uninterrupted}/checkpoint_step{step:09d}.pth")
            == 0
        )
        expected, actual = load_step(uninterrupted, 6), load_step(resumed, 6)
        assert is_equal(expected.extras["own_weights"], actual.extras["own_weights"])
        assert is_equal(expected.state_dict, actual.state_dict)


@pytest.mark.usefixtures("nan_at_step_five")
def test_rate_of_the_file_is_lowered_once(noise_data, expert, tmp_path):
    options = ["health.action=rollback", "compat.resume_lr_from_checkpoint=true"]
    for last in (5, 6, 7):  # saved at the step of the rollback, and after it
        assert run(noise_data, tmp_path, expert, *options, f"max_steps={last}", f"resume={last > 5}") == 0
        assert load_step(tmp_path, last).optimizer["param_groups"][0]["lr"] == pytest.approx(5e-5)


def test_second_rollback_skips_undone_checkpoints(noise_data, expert, tmp_path, monkeypatch, caplog):
    original = DivergenceMonitor.check

    def fail_from_step_seven(monitor, step, means):
        anomalies = [Anomaly("bad", "it is bad", ("",))] if step >= 7 else []
        monkeypatch.setattr("train.callbacks.divergence.detect", lambda *_: iter(anomalies))
        return original(monitor, step, means)

    monkeypatch.setattr(DivergenceMonitor, "check", fail_from_step_seven)
    options = ["health.action=rollback", "health.patience=3", "checkpoint_interval=4", "log_interval=1"]
    assert run(noise_data, tmp_path, expert, *options, "max_steps=10") == 0
    assert run(noise_data, tmp_path, expert, *options, "max_steps=13", "resume=true") == 0
    rollbacks = [message for message in caplog.messages if "Rolled back to" in message]
    assert len(rollbacks) == 2  # at steps 9 and 12; step 8 was saved in between
    assert all("checkpoint_step000000004.pth" in message for message in rollbacks)


def test_resume_between_reports_keeps_the_means(noise_data, expert, tmp_path, monkeypatch):
    original, received = DivergenceMonitor.check, []

    def record(monitor, step, means):
        received.append((step, dict(means)))
        return original(monitor, step, means)

    monkeypatch.setattr(DivergenceMonitor, "check", record)
    assert run(noise_data, tmp_path / "whole", expert, "log_interval=3", "max_steps=6") == 0
    uninterrupted = received.copy()
    received.clear()
    for last in (4, 6):
        assert run(noise_data, tmp_path / "parts", expert, "log_interval=3", f"max_steps={last}", "resume=true") == 0
    assert [step for step, _ in uninterrupted] == [3, 6]
    assert received == uninterrupted


@pytest.mark.usefixtures("nan_at_step_five")
def test_without_rollback_nan_stops_and_good_weights_stay(noise_data, expert, tmp_path, caplog):
    assert run(noise_data, tmp_path, expert) == 1
    assert "weights are NaN or infinite after step 5" in caplog.text
    assert max(int(path.stem[-9:]) for path in tmp_path.glob("checkpoint_step*.pth")) == 4


@pytest.mark.parametrize("override", [
    "health.action=pray", "health.patience=0", "health.max_rollbacks=-1", "health.lr_backoff=1.5",
    "health.sync_rise_factor=1",
])  # fmt: skip
def test_impossible_settings_are_rejected(override, noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=f"{override}: must be"):
        run(noise_data, tmp_path, expert, override)
