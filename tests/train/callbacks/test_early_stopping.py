"""Best validation, early stopping, and both across a resume."""

import math

import pytest
import torch

from tests.helpers.trainers import run_trainer
from train.callbacks.early_stopping import EarlyStopping
from train.callbacks.tensorboard import TensorBoard
from train.steps.syncnet import SyncNetStep
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics import HIGHER, LOWER, ONE, ZERO

DIRECTIONS = {"loss": LOWER, "auc": HIGHER}


def update(stopping, *values, first=1):
    return [stopping.update({stopping.best.metric: value}, step) for step, value in enumerate(values, start=first)]


def stop_reason(stopping):
    stop = stopping.stop(None)
    return stop and stop.reason


def test_best_is_the_better_value_in_either_direction():
    stopping = EarlyStopping("loss", DIRECTIONS)
    assert update(stopping, 0.7, 0.6, 0.6, math.nan, 0.65, 0.5) == [True, True, False, False, False, True]
    assert (stopping.best.value, stopping.best.step) == (0.5, 6)
    assert update(EarlyStopping("auc", DIRECTIONS), 0.5, 0.6, 0.55, 0.7) == [True, True, False, True]


def test_best_is_the_closest_value_to_zero_or_one():
    directions = {"sharpness": ONE, "offset": ZERO}
    assert update(EarlyStopping("sharpness", directions), 0.5, 1.6, 1.4, 0.7) == [True, False, True, True]
    assert update(EarlyStopping("offset", directions), -3, 2, 5, -1) == [True, True, False, True]


def test_patience_counts_validations_since_the_best():
    stopping = EarlyStopping("loss", DIRECTIONS, patience=2)
    update(stopping, 0.7, 0.8)
    assert stop_reason(stopping) is None
    update(stopping, 0.6, 0.7, first=3)
    assert stop_reason(stopping) is None
    update(stopping, 0.65, first=5)
    reason = stop_reason(stopping)
    assert all(figure in reason for figure in ("2 validations", "0.6000 at step 3", "early_stopping.patience=2"))


def test_nan_uses_up_patience():
    stopping = EarlyStopping("loss", DIRECTIONS, patience=1)
    update(stopping, math.nan)
    assert "NaN" in stop_reason(stopping)


def test_threshold_is_passed_below_it():
    stopping = EarlyStopping("loss", DIRECTIONS, threshold=0.25)
    update(stopping, 0.25)
    assert stop_reason(stopping) is None
    update(stopping, 0.249, first=2)
    assert "step 2 is below early_stopping.threshold=0.25" in stop_reason(stopping)


def test_default_never_stops():
    stopping = EarlyStopping("loss", DIRECTIONS)
    update(stopping, *[1.0] * 1000)
    assert stop_reason(stopping) is None


def test_state_continues_as_without_a_break():
    uninterrupted, interrupted = (
        EarlyStopping("loss", DIRECTIONS, patience=3),
        EarlyStopping("loss", DIRECTIONS, patience=3),
    )
    update(uninterrupted, 0.5, 0.6, 0.7)
    update(interrupted, 0.5, 0.6)
    resumed = EarlyStopping("loss", DIRECTIONS, patience=3)
    resumed.load_state_dict(interrupted.state_dict())
    update(resumed, 0.7, first=3)
    assert resumed.state_dict() == uninterrupted.state_dict()
    other_metric = EarlyStopping("auc", DIRECTIONS)
    other_metric.load_state_dict(interrupted.state_dict())
    assert other_metric.best.value is None  # a loss says nothing about an AUC


@pytest.mark.parametrize(("arguments", "message"), [
    ({"metric": "los"}, "monitor_metric=los: .*loss, auc"),
    ({"metric": "auc", "threshold": 0.9}, "early_stopping.threshold=0.9: auc .*higher"),
])  # fmt: skip
def test_impossible_settings_are_rejected(arguments, message):
    with pytest.raises(InputError, match=message):
        EarlyStopping(directions=DIRECTIONS, **arguments)


def test_metric_missing_from_the_scores_is_rejected():
    with pytest.raises(InputError, match="monitor_metric=loss: .*l1, sync"):
        EarlyStopping("loss", DIRECTIONS).update({"l1": 0.1, "sync": 0.2}, 1)


@pytest.fixture
def run_with_losses(monkeypatch, noise_data, tmp_path):
    """Run the expert's trainer with given validation losses; return the steps at which it validated."""

    def run(losses, *overrides):
        remaining, steps = iter(losses), []
        monkeypatch.setattr(SyncNetStep, "validate", lambda self, batches: {"loss": next(remaining)})
        monkeypatch.setattr(
            TensorBoard, "add_scalars", lambda self, group, values, step: group == "val" and steps.append(step)
        )
        run_trainer("syncnet", noise_data, tmp_path, None, "eval_interval=1", "diagnose_after=0", *overrides)
        return steps

    return run


def test_run_ends_when_patience_is_used_up(run_with_losses, caplog):
    caplog.set_level("INFO", logger="train")
    assert run_with_losses([0.6, 0.5, 0.7, 0.5, 0.4], "early_stopping.patience=2") == [1, 2, 3, 4]
    assert "early stopping" in caplog.text
    assert "best 0.5000 at step 2" in caplog.text


def test_run_ends_at_the_threshold(run_with_losses):
    assert run_with_losses([0.6, 0.3, 0.2, 0.1], "early_stopping.threshold=0.25") == [1, 2, 3]


def test_best_checkpoint_has_the_best_weights(run_with_losses, tmp_path):
    run_with_losses([0.6, 0.4, 0.5, 0.5], "max_steps=4", "checkpoint_interval=1", "learning_rate=0.01")
    best, second, last = (load_checkpoint(tmp_path / f"{name}.pth")
                          for name in ("best", "checkpoint_step000000002", "last"))  # fmt: skip
    assert (best.global_step, last.global_step) == (2, 4)
    assert all(torch.equal(best.state_dict[key], second.state_dict[key]) for key in best.state_dict)
    assert any(not torch.equal(best.state_dict[key], last.state_dict[key]) for key in best.state_dict)


def test_best_checkpoint_is_saved_between_numbered_ones(run_with_losses, tmp_path):
    run_with_losses([0.6, 0.4, 0.5, 0.5], "max_steps=4", "checkpoint_interval=3")
    assert load_checkpoint(tmp_path / "best.pth").global_step == 2
    numbered = sorted(path.name for path in tmp_path.glob("checkpoint_step*.pth"))
    assert numbered == ["checkpoint_step000000003.pth", "checkpoint_step000000004.pth"]


def test_patience_and_best_survive_a_resume(run_with_losses, tmp_path):
    run_with_losses([0.6, 0.5, 0.7], "max_steps=3", "early_stopping.patience=3")
    resumed = run_with_losses([0.7, 0.55, 0.4, 0.3], "max_steps=7", "early_stopping.patience=3", "resume=true")
    assert resumed == [4, 5]  # with step 3 they are three without improvement
    assert load_checkpoint(tmp_path / "best.pth").global_step == 2
    rerun = run_with_losses([0.1], "max_steps=7", "early_stopping.patience=3", "resume=true")
    assert rerun == []  # a stopped run stays stopped
