"""Overfit self-test on fixed batches."""

import pytest
import torch

from tests.helpers.trainers import TRAINERS, exit_code
from train.checkpoint.files import LOCK
from train.loop import Loop
from wav2lip.errors import InputError


@pytest.fixture(autouse=True)
def log_at_info(caplog):
    caplog.set_level("INFO", logger="train")


def test_expert_memorizes_its_batches_and_saves_nothing(noise_data, expert, tmp_path, caplog):
    options = ["overfit_batches=2", "batch_size=8", "learning_rate=1e-3"]
    assert exit_code("syncnet", noise_data, tmp_path, expert, *options) == 0
    assert "overfit test PASSED: loss" in caplog.text
    assert not [path for path in tmp_path.iterdir() if path.name != LOCK]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_failed_test_has_exit_code_1(trainer, noise_data, expert, tmp_path, caplog):
    options = ["overfit_batches=2", "overfit_max_steps=4", "learning_rate=0"]
    assert exit_code(trainer, noise_data, tmp_path, expert, *options) == 1
    assert "overfit test FAILED" in caplog.text
    assert "in 4 steps on 2 fixed batches" in caplog.text
    assert not [path for path in tmp_path.iterdir() if path.name != LOCK]


@pytest.mark.parametrize("recipe", ["public", "default"])
def test_batches_of_the_expert_have_both_labels(recipe, noise_data, expert, tmp_path, monkeypatch):
    recorded = []
    run_step = Loop.run_step
    monkeypatch.setattr(Loop, "run_step", lambda loop, batches: run_step(loop, record(batches, recorded)))
    exit_code("syncnet", noise_data, tmp_path, expert, f"recipe={recipe}", "overfit_batches=3", "overfit_max_steps=6",
              "batch_size=2")  # fmt: skip
    if recipe == "public":
        assert [sorted(batch.label.flatten().tolist()) for batch in recorded] == [[0, 1]] * 6
    else:  # all match; the mismatched pairs are between the two windows of a clip
        assert [batch.label.flatten().tolist() for batch in recorded] == [[1, 1]] * 6
        assert all(5 <= abs(batch.audio_position[0] - batch.face_position[1]) < 100 for batch in recorded)
    assert all(torch.equal(a.faces, b.faces) for a, b in zip(recorded[:3], recorded[3:], strict=True))


def record(batches, recorded):
    for batch in batches:
        recorded.append(batch)
        yield batch


@pytest.mark.parametrize("override", ["overfit_batches=-1", "overfit_max_steps=0"])
def test_impossible_settings_are_rejected(override, noise_data, expert, tmp_path):
    with pytest.raises(InputError, match=override):
        exit_code("syncnet", noise_data, tmp_path, expert, override)
