"""A second expert scores the generator and selects best.pth, without training it."""

from __future__ import annotations

import pytest
import torch

from models import SyncNet
from tests.helpers.trainers import is_equal, load_step, open_log, run_trainer
from wav2lip.checkpoints import Checkpoint, save_checkpoint
from wav2lip.errors import InputError

SECOND = {"second_sync", "second_sync_of_truth", "second_distance", "second_confidence", "second_offset"}


@pytest.fixture
def second(tmp_path):
    torch.manual_seed(2)
    save_checkpoint(tmp_path / "second.pth", Checkpoint(SyncNet(width=0.0625).state_dict()))
    return tmp_path / "second.pth"


def test_second_expert_scores_validations_and_selects_the_best(noise_data, expert, second, tmp_path):
    options = ["syncnet_wt=0.1", "max_steps=3"]
    alone = run_trainer("wav2lip", noise_data, tmp_path / "alone", expert, *options)
    folder = run_trainer(
        "wav2lip", noise_data, tmp_path / "both", expert, *options, f"second_syncnet_checkpoint_path={second}"
    )
    log = open_log(folder)
    assert {f"val/{name}" for name in SECOND} <= set(log.Tags()["scalars"])
    best = load_step(folder, 3).extras["callbacks"]["early_stopping"]
    assert (best["metric"], best["value"]) == ("second_sync", pytest.approx(log.Scalars("val/second_sync")[-1].value))
    assert load_step(alone, 3).extras["callbacks"]["early_stopping"]["metric"] == "sync"
    assert is_equal(load_step(alone, 3).state_dict, load_step(folder, 3).state_dict)


def test_training_expert_is_no_second_expert(noise_data, expert, tmp_path):
    with pytest.raises(InputError, match="second_syncnet_checkpoint_path=.*must be another network"):
        run_trainer("wav2lip", noise_data, tmp_path, expert, f"second_syncnet_checkpoint_path={expert}")
