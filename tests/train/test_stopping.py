"""Which validation is the best, when training stops early, and that a resume changes neither."""

import math
import re

import pytest
import torch

import train.syncnet
from tests.train.conftest import config
from train.scores.stopping import Watch
from train.syncnet_step import SyncNetStep
from train.watching.monitor import Monitor
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics import HIGHER, LOWER, ONE, ZERO

DIRECTIONS = {"loss": LOWER, "auc": HIGHER}


def taken(watch, *values, first=1):
    return [watch.take({watch.best.score: value}, step) for step, value in enumerate(values, start=first)]


def test_only_a_better_value_is_the_best_in_either_direction():
    watch = Watch("loss", DIRECTIONS)
    assert taken(watch, 0.7, 0.6, 0.6, math.nan, 0.65, 0.5) == [True, True, False, False, False, True]
    assert (watch.best.value, watch.best.step) == (0.5, 6)
    assert taken(Watch("auc", DIRECTIONS), 0.5, 0.6, 0.55, 0.7) == [True, True, False, True]


def test_of_a_score_with_a_best_value_the_nearest_one_is_the_best():
    directions = {"sharpness": ONE, "offset": ZERO}
    assert taken(Watch("sharpness", directions), 0.5, 1.6, 1.4, 0.7) == [True, False, True, True]
    assert taken(Watch("offset", directions), -3, 2, 5, -1) == [True, True, False, True]


def test_patience_counts_validations_since_the_best_one():
    watch = Watch("loss", DIRECTIONS, patience=2)
    taken(watch, 0.7, 0.8)
    assert watch.reason_to_stop() is None
    taken(watch, 0.6, 0.7, first=3)
    assert watch.reason_to_stop() is None
    taken(watch, 0.65, first=5)
    assert (
        watch.reason_to_stop()
        == "loss is no better than 2 validations ago: best at step 3 with 0.6000; stop.patience=2"
    )


def test_a_score_that_never_is_a_number_wears_patience_out():
    watch = Watch("loss", DIRECTIONS, patience=1)
    taken(watch, math.nan)
    assert "never a number" in watch.reason_to_stop()


def test_a_mark_is_reached_below_it_and_not_at_it():
    watch = Watch("loss", DIRECTIONS, below=0.25)
    taken(watch, 0.25)
    assert watch.reason_to_stop() is None
    taken(watch, 0.249, first=2)
    assert "below stop.below=0.25, at step 2" in watch.reason_to_stop()


def test_without_patience_and_mark_training_is_never_stopped():
    watch = Watch("loss", DIRECTIONS)
    taken(watch, *[1.0] * 1000)
    assert watch.reason_to_stop() is None


def test_the_state_goes_on_as_if_there_had_been_no_break():
    whole, broken = Watch("loss", DIRECTIONS, patience=3), Watch("loss", DIRECTIONS, patience=3)
    taken(whole, 0.5, 0.6, 0.7)
    taken(broken, 0.5, 0.6)
    resumed = Watch("loss", DIRECTIONS, patience=3)
    resumed.load_state(broken.state())
    taken(resumed, 0.7, first=3)
    assert resumed.state() == whole.state()
    other = Watch("auc", DIRECTIONS)
    other.load_state(broken.state())
    assert other.best.value is None  # a loss is no mark for an area


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"score": "los"}, "watch=los: is no score of this trainer; choose one of loss, auc"),
    ({"score": "auc", "below": 0.9}, "stop.below=0.9: auc is the better the higher it is"),
    ({"score": "loss", "patience": 0}, "stop.patience=0: give a number of validations from 1 up"),
])  # fmt: skip
def test_what_cannot_be_watched_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        Watch(directions=DIRECTIONS, **arguments)


def test_a_score_that_the_validations_do_not_have_is_refused():
    with pytest.raises(InputError, match="watch=loss: this validation has none; choose one of l1, sync"):
        Watch("loss", DIRECTIONS).take({"l1": 0.1, "sync": 0.2}, 1)


@pytest.fixture
def scripted(monkeypatch, noise_data, tmp_path):
    """Runs the expert's trainer with losses of validations made up; returns the steps after which it validated."""

    def run(losses, *overrides):
        left, validated = iter(losses), []
        monkeypatch.setattr(SyncNetStep, "validate", lambda self, batches: {"loss": next(left)})
        monkeypatch.setattr(
            Monitor, "scalars", lambda self, group, values, step: group == "val" and validated.append(step)
        )
        common = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path}", "debug=tiny", "eval_interval=1"]
        assert train.syncnet.train(config("syncnet", *common, *overrides)) == 0
        return validated

    return run


def test_training_ends_when_patience_is_worn_out_and_says_so(scripted, caplog):
    caplog.set_level("INFO", logger="train")
    assert scripted([0.6, 0.5, 0.7, 0.5, 0.4], "stop.patience=2") == [1, 2, 3, 4]
    assert "stops early: loss is no better than 2 validations ago: best at step 2 with 0.5000" in caplog.text


def test_training_ends_at_its_mark(scripted):
    assert scripted([0.6, 0.3, 0.2, 0.1], "stop.below=0.25") == [1, 2, 3]


def test_the_best_checkpoint_has_the_weights_of_the_best_validation(scripted, tmp_path):
    scripted([0.6, 0.4, 0.5, 0.5], "max_steps=4", "checkpoint_interval=1", "learning_rate=0.01")
    best, second, last = (load_checkpoint(tmp_path / f"{name}.pth")
                          for name in ("best", "checkpoint_step000000002", "last"))  # fmt: skip
    assert (best.global_step, last.global_step) == (2, 4)
    assert all(torch.equal(best.state_dict[key], second.state_dict[key]) for key in best.state_dict)
    assert any(not torch.equal(best.state_dict[key], last.state_dict[key]) for key in best.state_dict)


def test_the_best_checkpoint_is_written_between_the_numbered_ones_too(scripted, tmp_path):
    scripted([0.6, 0.4, 0.5, 0.5], "max_steps=4", "checkpoint_interval=3")
    assert load_checkpoint(tmp_path / "best.pth").global_step == 2
    numbered = sorted(path.name for path in tmp_path.glob("checkpoint_step*.pth"))
    assert numbered == ["checkpoint_step000000003.pth", "checkpoint_step000000004.pth"]


def test_patience_and_the_best_survive_a_resume(scripted, tmp_path):
    scripted([0.6, 0.5, 0.7], "max_steps=3", "stop.patience=3")
    resumed = scripted([0.7, 0.55, 0.4, 0.3], "max_steps=7", "stop.patience=3", "resume=true")
    assert resumed == [4, 5]  # with step 3 they are three without a better value
    assert load_checkpoint(tmp_path / "best.pth").global_step == 2
    again = scripted([0.1], "max_steps=7", "stop.patience=3", "resume=true")
    assert again == []  # what is over is over
