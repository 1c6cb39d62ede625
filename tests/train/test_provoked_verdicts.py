"""Each verdict, provoked by a training that deserves it: thin networks on made-up talkers."""

import pytest
import torch

import train.syncnet
import train.wav2lip
from models import SyncNet
from tests.train.conftest import config
from tests.train.talkers import write_talkers
from train.verdicts.rules import Kind
from wav2lip.checkpoints import Checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

SMALL = ["model.width=0.125", "learning_rate=1e-3", "batch_size=8", "num_workers=0", "device=cpu",
         "precision=32-true", "eval_windows=128", "log_interval=10", "checkpoint_interval=100000"]  # fmt: skip


def verdicts(caplog):
    """What was said first of each kind, which is when it is said in full."""
    said = [record.getMessage() for record in caplog.records if record.name == "train.verdicts.judge"]
    return {sentence.split(" | ")[1].split(":")[0]: sentence for sentence in reversed(said)}


def train_expert(caplog, data, folder, *overrides):
    caplog.set_level("INFO", logger="train.verdicts.judge")
    settings = [f"data_root={data}", f"checkpoint_dir={folder}", *SMALL, *overrides]
    train.syncnet.train(config("syncnet", *settings))
    return verdicts(caplog)


def test_talkers_whose_mouths_follow_their_sound_are_learned(tmp_path, caplog):
    data = write_talkers(tmp_path / "data", train=12, val=4, seconds=8)
    said = train_expert(caplog, data, tmp_path / "out", "max_steps=120", "judge_after=120", "eval_interval=1000")
    assert Kind.LEARNING in said
    assert Kind.FEW_SPEAKERS not in said


def test_shuffled_sound_is_not_learned(tmp_path, caplog):
    data = write_talkers(tmp_path / "data", train=12, val=4, seconds=8, shuffled=True)
    said = train_expert(caplog, data, tmp_path / "out", "max_steps=60", "judge_after=60", "eval_interval=1000")
    assert Kind.NOT_LEARNING in said
    assert f"python -m preprocess.doctor {data}" in said[Kind.NOT_LEARNING]


def test_one_clip_is_little_data_of_few_speakers_and_is_learned_by_heart(tmp_path, caplog):
    data = write_talkers(tmp_path / "data", train=1, val=4, seconds=2, shuffled=True)
    said = train_expert(caplog, data, tmp_path / "out", "max_steps=120", "judge_after=120", "eval_interval=1000")
    assert {Kind.OVER_FITTING, Kind.LITTLE_DATA, Kind.FEW_SPEAKERS} <= said.keys()
    assert "2.0 s in 1 clip of 1 folder" in said[Kind.LITTLE_DATA]


def test_a_random_expert_is_weak_and_is_why_the_sync_loss_does_not_fall(tmp_path, caplog):
    caplog.set_level("INFO", logger="train.verdicts.judge")
    data, expert = write_talkers(tmp_path / "data", train=4, val=2, seconds=4), tmp_path / "expert.pth"
    torch.manual_seed(0)
    save_checkpoint(expert, Checkpoint(SyncNet(width=0.125).state_dict()))
    train.wav2lip.train(config(
        "wav2lip", f"data_root={data}", f"checkpoint_dir={tmp_path}/out", f"syncnet_checkpoint_path={expert}", *SMALL,
        "batch_size=2", "eval_windows=16", "max_steps=40", "judge_after=10", "eval_interval=10", "preview_seconds=0",
        "syncnet_wt=0.03",
    ))  # fmt: skip
    said = verdicts(caplog)
    assert Kind.WEAK_EXPERT in said
    assert "python -m train.syncnet" in said[Kind.WEAK_EXPERT]
    assert Kind.SYNC_STUCK in said
    assert "the expert is weak" in said[Kind.SYNC_STUCK]
