"""The same seed and data give the same training, bit for bit: with any number of workers, and after kill -9."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.conftest import ENTRY, run
from wav2lip.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
ALL_ON = ["data=clips", "accumulate=2", "ema=0.9", "warmup=5", "clip=1.0", "batch_size=2", "model.width=0.0625"]
GENERATOR = ["syncnet_wt=0.1"]
CLOCK = {"train/samples_per_second", "train/data_wait"}  # curves that tell of the machine


def options(trainer: str) -> list[str]:
    return ALL_ON + (GENERATOR if trainer != "syncnet" else [])


def difference(a, b, at="") -> str:
    """Where two contents of checkpoints differ in a single bit or value; nothing if they do not."""
    if isinstance(a, dict):
        keys = [key for key in a.keys() | b.keys() if key != "saved"]  # the time of day
        return next(filter(None, (difference(a.get(key), b.get(key), f"{at}.{key}") for key in keys)), "")
    if isinstance(a, list | tuple):
        pairs = enumerate(zip(a, b, strict=True))
        return next(filter(None, (difference(*pair, f"{at}[{n}]") for n, pair in pairs)), "")
    if isinstance(a, torch.Tensor):
        return "" if torch.equal(a, b) else at
    return "" if a == b else f"{at}: {a} and {b}"


def content(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"] if tag not in CLOCK}  # fmt: skip


@pytest.mark.parametrize(("trainer", "numbers"), [
    ("syncnet", [0, 2]),
    pytest.param("wav2lip", [0, 1, 2], marks=pytest.mark.slow),
    pytest.param("wav2lip_gan", [0, 1, 2], marks=pytest.mark.slow),
])  # fmt: skip
def test_losses_and_weights_do_not_depend_on_the_number_of_workers(trainer, numbers, noise_data, expert, tmp_path):
    folders = [run(trainer, noise_data, tmp_path / str(workers), expert, *options(trainer), "max_steps=3",
                   f"num_workers={workers}") for workers in numbers]  # fmt: skip
    one, *others = [curves(folder) for folder in folders]
    assert [step for step, _ in one["train/loss"]] == [1, 2, 3]
    assert all(other == one for other in others)
    first, *rest = [content(folder / "last.pth") for folder in folders]
    assert [difference(first, other) for other in rest] == [""] * len(rest)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("trainer", [
    "syncnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ENTRY if name != "syncnet")
])  # fmt: skip
def test_a_run_killed_at_any_step_and_resumed_ends_like_one_in_one_piece(trainer, noise_data, expert, tmp_path):
    steps = 12
    settings = [*options(trainer), f"max_steps={steps}", "eval_interval=6", "checkpoint_interval=2", "keep=3"]
    whole = run(trainer, noise_data, tmp_path / "whole", expert, *settings)
    folder = tmp_path / "killed"
    killed_at = random.randrange(3, steps - 3)
    kill_when_seen(f"step {killed_at}/{steps} |", trainer, noise_data, folder, expert, settings)
    assert not (folder / f"checkpoint_step{steps:09d}.pth").exists(), "it was killed too late to tell anything"
    run(trainer, noise_data, folder, expert, *settings, "resume=true")
    for name in [f"{prefix}checkpoint_step{steps:09d}.pth" for prefix in prefixes(trainer)]:
        found = difference(content(whole / name), content(folder / name))
        assert not found, f"killed after step {killed_at}: {name} differs in {found}"
    assert load_checkpoint(folder / "last.pth").extras["ema_steps"] == steps


def prefixes(trainer: str) -> list[str]:
    return ["", "disc_"] if trainer == "wav2lip_gan" else [""]


def kill_when_seen(words: str, trainer: str, data: Path, folder: Path, expert: Path, settings: list[str]) -> None:
    """Start a trainer as its own process and kill it, without any chance to save, once it has said something."""
    command = [sys.executable, "-m", f"train.{trainer}", f"data_root={data}", f"checkpoint_dir={folder}", "debug=tiny"]
    if trainer != "syncnet":
        command += [f"syncnet_checkpoint_path={expert}", "preview_seconds=0"]
    said = folder.with_suffix(".txt")
    with said.open("w") as file:
        process = subprocess.Popen([*command, *settings], stderr=file, cwd=ROOT, start_new_session=True)
    while words not in said.read_text() and process.poll() is None:
        time.sleep(0.005)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, said.read_text()
