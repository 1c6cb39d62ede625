"""Two processes train together, started by torchrun."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf

from tests.helpers.processes import run_in_two_processes
from tests.helpers.trainers import TRAINERS, is_equal, load_step, read_curves, run_trainer, tiny_overrides
from train.distributed import distributed_main
from wav2lip.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack"),
]
GAN_OPTIONS = ["disc_loss=hinge", "disc_spectral_norm=true", "r1_wt=1", "r1_interval=2", "feature_matching_wt=0.1"]
ALL_ON = ["grad_accum_steps=2", "ema_decay=0.9", "grad_clip_norm=1.0", "warmup_steps=2", "learning_rate=1e-5"]


def command(trainer: str, data: Path, folder: Path, expert: Path, *overrides: str) -> list[str]:
    """Return the command of two processes of a trainer."""
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", f"train.{trainer}",
            *tiny_overrides(trainer, data, folder, expert), *overrides]  # fmt: skip


def run_two_processes(*arguments) -> subprocess.CompletedProcess[str]:
    """Run two processes to their end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT, timeout=500)


@pytest.mark.parametrize(
    ("trainer", "options"), [*((trainer, []) for trainer in TRAINERS), ("wav2lip_gan", GAN_OPTIONS)]
)
def test_two_processes_have_the_losses_of_one(trainer, options, noise_data, expert, tmp_path):
    settings = [*ALL_ON, *options, *(["syncnet_wt=0.1"] if trainer != "syncnet" else [])]
    single = run_trainer(trainer, noise_data, tmp_path / "one", expert, *settings, "batch_size=4")
    process = run_two_processes(trainer, noise_data, tmp_path / "two", expert, *settings, "batch_size=2")
    assert process.returncode == 0, process.stderr
    expected, curves = read_curves(single), read_curves(tmp_path / "two")
    assert curves.keys() == expected.keys()
    losses = [
        tag
        for tag in expected
        if re.search(r"/(loss|l1|sync|gan_generator|feature_matching|disc_(real|fake|r1))$", tag)
    ]
    assert {"train/loss", "val/loss"} <= set(losses)
    for tag in losses:
        assert [step for step, _ in curves[tag]] == [step for step, _ in expected[tag]]
        values = [[value for _, value in curve[tag]] for curve in (curves, expected)]
        assert values[0] == pytest.approx(values[1], rel=2e-3), tag
    checkpoints = [load_checkpoint(folder / "last.pth") for folder in (single, tmp_path / "two")]
    assert list(checkpoints[0].state_dict) == list(checkpoints[1].state_dict)
    assert checkpoints[0].extras["samples"] == checkpoints[1].extras["samples"] == 6 * 2 * 4
    assert len(list((tmp_path / "two" / "tensorboard").glob("events*"))) == 1


def test_without_sync_batchnorm_each_process_normalizes_alone(noise_data, expert, tmp_path):
    process = run_two_processes(
        "syncnet", noise_data, tmp_path / "two", expert, *ALL_ON, "batch_size=2", "sync_batchnorm=false"
    )
    assert process.returncode == 0, process.stderr
    single = run_trainer("syncnet", noise_data, tmp_path / "one", expert, *ALL_ON, "batch_size=4")
    first_losses = [read_curves(folder)["train/loss"][0][1] for folder in (single, tmp_path / "two")]
    assert first_losses[0] != pytest.approx(first_losses[1], rel=1e-3)


def test_two_processes_resume_bit_for_bit(noise_data, expert, tmp_path):
    uninterrupted, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_two_processes("wav2lip_gan", noise_data, uninterrupted, expert, *ALL_ON).returncode == 0
    assert run_two_processes("wav2lip_gan", noise_data, parts, expert, *ALL_ON, "max_steps=3").returncode == 0
    process = run_two_processes("wav2lip_gan", noise_data, parts, expert, *ALL_ON, "resume=true")
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("resuming from") == 1
    for prefix in ("", "disc_"):
        assert is_equal(*(load_step(folder, 6, prefix).state_dict for folder in (uninterrupted, parts)))
    path = parts / "checkpoint_step000000006.pth"  # a corrupt file stops both, with one message
    path.write_bytes(path.read_bytes()[:5000])
    process = run_two_processes("wav2lip_gan", noise_data, parts, expert, f"checkpoint_path={path}")
    assert process.returncode != 0
    assert process.stderr.count("error: ") == 1
    assert f"error: {path}: " in process.stderr


def run_unequal_tasks(rank: int) -> torch.Tensor:
    """Run a task that takes longer in rank 0; return whether it had ended in both, and whether a group is left."""

    def task(cfg):
        if rank == 0:
            time.sleep(0.5)
        Path(cfg.folder, f"ended{rank}").touch()
        return 0

    assert distributed_main(task)(OmegaConf.create({"folder": os.environ["FOLDER"]})) == 0
    ended = all(Path(os.environ["FOLDER"], f"ended{n}").exists() for n in range(2))
    return torch.tensor([ended, dist.is_initialized()])


def test_processes_leave_their_group_together(tmp_path, monkeypatch):
    monkeypatch.setenv("FOLDER", str(tmp_path))
    for ended, is_group_left in run_in_two_processes(run_unequal_tasks, tmp_path):
        assert ended and not is_group_left


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_process_ends_the_other(noise_data, expert, tmp_path):
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command("syncnet", noise_data, tmp_path / "run", expert, "max_steps=1000000", "eval_interval=1000000",
                    "checkpoint_interval=5", "keep_last_n=1"), stderr=file, cwd=ROOT,
        )  # fmt: skip
    while not (tmp_path / "run" / "last.pth").exists() and process.poll() is None:
        time.sleep(0.1)
    workers = list_children(process.pid)
    assert len(workers) == 2, output.read_text()
    os.kill(workers[1], signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert load_checkpoint(tmp_path / "run" / "last.pth").global_step % 5 == 0


def list_children(pid: int) -> list[int]:
    """Return the children of a process, from /proc/PID/stat: number, (name), state, parent."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if parent == pid:
            children.append(int(stat.parent.name))
    return children
