"""Two processes train together."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import SyncNet
from wav2lip.checkpoints import Checkpoint, load_checkpoint, save_checkpoint


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack")
def test_two_processes_train_one_network_and_one_of_them_writes(noise_data, tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "expert.pth", Checkpoint(SyncNet(width=0.125).state_dict()))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "train.wav2lip_gan",
         f"data_root={noise_data}", f"checkpoint_dir={tmp_path}/run", f"syncnet_checkpoint_path={tmp_path}/expert.pth",
         "debug=tiny", "devices=2", "syncnet_wt=0.1"],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = load_checkpoint(tmp_path / "run" / "checkpoint_step000000006.pth")
    assert last.global_epoch == 6 * 2 * 4 // 2  # two processes of 4 samples, two clips
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
