"""The same seed and data give the same run bit for bit: with any number of workers, and after kill -9."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.helpers.trainers import TRAINERS, read_curves, run_trainer, tiny_overrides
from wav2lip.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
ALL_ON = ["data_source=clips", "grad_accum_steps=2", "ema_decay=0.9", "warmup_steps=5", "grad_clip_norm=1.0",
          "batch_size=2", "model.width=0.0625"]  # fmt: skip


def make_options(trainer: str) -> list[str]:
    return ALL_ON + (["syncnet_wt=0.1"] if trainer != "syncnet" else [])


def first_difference(a, b, at="") -> str:
    """Return where two contents of checkpoints differ in a bit or value; empty if they do not."""
    if isinstance(a, dict):
        keys = [key for key in a.keys() | b.keys() if key != "saved_ns"]
        return next(filter(None, (first_difference(a.get(key), b.get(key), f"{at}.{key}") for key in keys)), "")
    if isinstance(a, list | tuple):
        pairs = enumerate(zip(a, b, strict=True))
        return next(filter(None, (first_difference(*pair, f"{at}[{n}]") for n, pair in pairs)), "")
    if isinstance(a, torch.Tensor):
        return "" if torch.equal(a, b) else at
    return "" if a == b else f"{at}: {a} and {b}"


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(("trainer", "numbers"), [
    ("syncnet", [0, 2]),
    pytest.param("wav2lip", [0, 1, 2], marks=pytest.mark.slow),
    pytest.param("wav2lip_gan", [0, 1, 2], marks=pytest.mark.slow),
])  # fmt: skip
def test_losses_and_weights_do_not_depend_on_workers(trainer, numbers, noise_data, expert, tmp_path):
    folders = [run_trainer(trainer, noise_data, tmp_path / str(workers), expert, *make_options(trainer), "max_steps=3",
                           f"num_workers={workers}") for workers in numbers]  # fmt: skip
    curves, *other_curves = [read_curves(folder) for folder in folders]
    assert [step for step, _ in curves["train/loss"]] == [1, 2, 3]
    assert all(other == curves for other in other_curves)
    first, *rest = [load(folder / "last.pth") for folder in folders]
    assert [first_difference(first, other) for other in rest] == [""] * len(rest)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("trainer", [
    "syncnet", *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINERS if name != "syncnet")
])  # fmt: skip
def test_killed_run_resumes_to_the_same_weights(trainer, noise_data, expert, tmp_path):
    steps = 12
    settings = [
        *make_options(trainer),
        f"max_steps={steps}",
        "eval_interval=6",
        "checkpoint_interval=2",
        "keep_last_n=3",
    ]
    uninterrupted = run_trainer(trainer, noise_data, tmp_path / "whole", expert, *settings)
    folder = tmp_path / "killed"
    kill_step = random.randrange(3, steps - 3)
    kill_at(f"step {kill_step}/{steps} |", trainer, noise_data, folder, expert, settings)
    assert not (folder / f"checkpoint_step{steps:09d}.pth").exists(), "killed after the last step"
    run_trainer(trainer, noise_data, folder, expert, *settings, "resume=true")
    for prefix in ["", "disc_"] if trainer == "wav2lip_gan" else [""]:
        name = f"{prefix}checkpoint_step{steps:09d}.pth"
        difference = first_difference(load(uninterrupted / name), load(folder / name))
        assert not difference, f"killed after step {kill_step}: {name} differs in {difference}"
    assert load_checkpoint(folder / "last.pth").extras["ema_steps"] == steps


def kill_at(text: str, trainer: str, data: Path, folder: Path, expert: Path, settings: list[str]) -> None:
    """Start a trainer as its own process and kill it, without a chance to save, once it has logged a text."""
    command = [sys.executable, "-m", f"train.{trainer}", *tiny_overrides(trainer, data, folder, expert), *settings]
    output = folder.with_suffix(".txt")
    with output.open("w") as file:
        process = subprocess.Popen(command, stderr=file, cwd=ROOT, start_new_session=True)
    while text not in output.read_text() and process.poll() is None:
        time.sleep(0.005)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, output.read_text()
