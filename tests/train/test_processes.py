"""Two processes train together, as torchrun starts them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.conftest import ENTRY, run
from tests.train.test_exact import curves
from wav2lip.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack"),
]
ALL_ON = ["accumulate=2", "ema=0.9", "clip=1.0", "warmup=2", "learning_rate=1e-5"]


def command(trainer: str, data: Path, folder: Path, expert: Path, *overrides: str) -> list[str]:
    """Two processes of a trainer."""
    more = [f"syncnet_checkpoint_path={expert}", "preview_seconds=0"] if trainer != "syncnet" else []
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", f"train.{trainer}",
            f"data_root={data}", f"checkpoint_dir={folder}", "debug=tiny", *more, *overrides]  # fmt: skip


def in_two(*arguments, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run them to their end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, timeout=500
    )


@pytest.mark.parametrize("trainer", ENTRY)
def test_two_processes_have_the_losses_of_one_with_the_same_global_batch(trainer, noise_data, expert, tmp_path):
    settings = [*ALL_ON, *(["syncnet_wt=0.1"] if trainer != "syncnet" else [])]
    one = run(trainer, noise_data, tmp_path / "one", expert, *settings, "batch_size=4")
    done = in_two(trainer, noise_data, tmp_path / "two", expert, *settings, "batch_size=2")
    assert done.returncode == 0, done.stderr
    expected, found = curves(one), curves(tmp_path / "two")
    assert found.keys() == expected.keys()
    losses = [tag for tag in expected if re.search(r"/(loss|l1|sync|perceptual|critic_\w+)$", tag)]
    assert {"train/loss", "val/loss"} <= set(losses)
    for tag in losses:
        assert [step for step, _ in found[tag]] == [step for step, _ in expected[tag]]
        values = [[value for _, value in curve[tag]] for curve in (found, expected)]
        assert values[0] == pytest.approx(values[1], rel=2e-3), tag
    checkpoints = [load_checkpoint(folder / "last.pth") for folder in (one, tmp_path / "two")]
    assert list(checkpoints[0].state_dict) == list(checkpoints[1].state_dict)
    assert checkpoints[0].extras["samples"] == checkpoints[1].extras["samples"] == 6 * 2 * 4
    assert len(list((tmp_path / "two" / "tensorboard").glob("events*"))) == 1


def test_without_synchronized_batch_norm_each_process_normalises_by_itself(noise_data, expert, tmp_path):
    alone = in_two("syncnet", noise_data, tmp_path / "two", expert, *ALL_ON, "batch_size=2", "sync_batchnorm=false")
    assert alone.returncode == 0, alone.stderr
    one = run("syncnet", noise_data, tmp_path / "one", expert, *ALL_ON, "batch_size=4")
    first_losses = [curves(folder)["train/loss"][0][1] for folder in (one, tmp_path / "two")]
    assert first_losses[0] != pytest.approx(first_losses[1], rel=1e-3)


def test_two_processes_go_on_bit_for_bit_and_a_damaged_checkpoint_stops_both_with_one_sentence(
    noise_data, expert, tmp_path
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert in_two("wav2lip_gan", noise_data, whole, expert, *ALL_ON).returncode == 0
    assert in_two("wav2lip_gan", noise_data, parts, expert, *ALL_ON, "max_steps=3").returncode == 0
    again = in_two("wav2lip_gan", noise_data, parts, expert, *ALL_ON, "resume=true")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("resume: goes on from") == 1
    for name in ("checkpoint_step000000006.pth", "disc_checkpoint_step000000006.pth"):
        ours, theirs = (load_checkpoint(folder / name).state_dict for folder in (whole, parts))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    path = parts / "checkpoint_step000000006.pth"
    path.write_bytes(path.read_bytes()[:5000])
    refused = in_two("wav2lip_gan", noise_data, parts, expert, f"checkpoint_path={path}")
    assert refused.returncode != 0
    assert refused.stderr.count("error: ") == 1
    assert f"error: {path}: is not a whole checkpoint" in refused.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_when_one_process_is_killed_the_other_ends_too(noise_data, expert, tmp_path):
    said = tmp_path / "said.txt"
    with said.open("w") as file:
        both = subprocess.Popen(
            command("syncnet", noise_data, tmp_path / "run", expert, "max_steps=1000000", "eval_interval=1000000",
                    "checkpoint_interval=5", "keep=1"), stderr=file, cwd=ROOT,
        )  # fmt: skip
    while not (tmp_path / "run" / "last.pth").exists() and both.poll() is None:
        time.sleep(0.1)
    workers = children(both.pid)
    assert len(workers) == 2, said.read_text()
    os.kill(workers[1], signal.SIGKILL)
    assert both.wait(timeout=120) != 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert load_checkpoint(tmp_path / "run" / "last.pth").global_step % 5 == 0


def children(pid: int) -> list[int]:
    """Processes that a process has started, by what Linux says of each: number, (name), state, parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found
