"""Each diagnosis, provoked by a run with that fault: thin networks on synthetic speakers."""

import pytest
import torch

from models import SyncNet
from tests.helpers.speakers import write_speakers
from tests.helpers.trainers import TRAINERS, compose_config
from train.callbacks.diagnosis.rules import Kind
from wav2lip.checkpoints import Checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

LOGGER = "train.callbacks.diagnosis.diagnostician"
SMALL = ["model.width=0.125", "learning_rate=1e-3", "batch_size=8", "num_workers=0", "device=cpu",
         "precision=32-true", "eval_windows=128", "log_interval=10", "checkpoint_interval=100000"]  # fmt: skip


def run_and_diagnose(caplog, trainer, data, folder, *overrides):
    """Train; return the first diagnosis of each kind, which is logged in full."""
    caplog.set_level("INFO", logger=LOGGER)
    TRAINERS[trainer](compose_config(trainer, f"data_root={data}", f"checkpoint_dir={folder}", *SMALL, *overrides))
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    return {message.split(" | ")[1].split(":")[0]: message for message in reversed(messages)}


def test_speakers_in_sync_are_learned(tmp_path, caplog):
    data = write_speakers(tmp_path / "data", train=12, val=4, seconds=8)
    diagnoses = run_and_diagnose(
        caplog, "syncnet", data, tmp_path / "out", "max_steps=120", "diagnose_after=120", "eval_interval=1000"
    )
    assert Kind.LEARNING in diagnoses
    assert Kind.FEW_SPEAKERS not in diagnoses


def test_mismatched_audio_is_not_learned(tmp_path, caplog):
    data = write_speakers(tmp_path / "data", train=12, val=4, seconds=8, mismatched=True)
    diagnoses = run_and_diagnose(
        caplog, "syncnet", data, tmp_path / "out", "max_steps=60", "diagnose_after=60", "eval_interval=1000"
    )
    assert Kind.NOT_LEARNING in diagnoses
    assert f"python -m preprocess.doctor {data}" in diagnoses[Kind.NOT_LEARNING]


def test_one_clip_is_little_data_and_overfitted(tmp_path, caplog):
    data = write_speakers(tmp_path / "data", train=1, val=4, seconds=2, mismatched=True)
    diagnoses = run_and_diagnose(
        caplog, "syncnet", data, tmp_path / "out", "max_steps=120", "diagnose_after=120", "eval_interval=1000"
    )
    assert {Kind.OVERFITTING, Kind.LITTLE_DATA, Kind.FEW_SPEAKERS} <= diagnoses.keys()
    assert "2.0 s in 1 clip of 1 folder" in diagnoses[Kind.LITTLE_DATA]


def test_random_expert_is_weak_and_its_sync_loss_stuck(tmp_path, caplog):
    data, expert = write_speakers(tmp_path / "data", train=4, val=2, seconds=4), tmp_path / "expert.pth"
    torch.manual_seed(0)
    save_checkpoint(expert, Checkpoint(SyncNet(width=0.125).state_dict()))
    diagnoses = run_and_diagnose(
        caplog, "wav2lip", data, tmp_path / "out", f"syncnet_checkpoint_path={expert}", "batch_size=2",
        "eval_windows=16", "max_steps=40", "diagnose_after=10", "eval_interval=10", "preview_seconds=0",
        "syncnet_wt=0.03",
    )  # fmt: skip
    assert Kind.WEAK_EXPERT in diagnoses
    assert "python -m train.syncnet" in diagnoses[Kind.WEAK_EXPERT]
    assert "expert is weak" in diagnoses[Kind.SYNC_STUCK]
