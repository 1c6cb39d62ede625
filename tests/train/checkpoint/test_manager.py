"""Checkpoints that a run leaves, and the one it resumes from if some are corrupt."""

import logging
from pathlib import Path

import pytest
import torch

from tests.helpers.trainers import compose_config, is_equal, run_trainer, tiny_overrides
from tests.helpers.training import cpu_fabric
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.state import RunningMeans, TrainState
from train.trainable import TrainableModel
from train.wav2lip import run
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError

SHORT = ["checkpoint_interval=2", "max_steps=4", "eval_interval=100", "batch_size=1", "model.width=0.0625"]


class NoState:
    def state_dict(self):
        return {}


def build_manager(folder: Path, keep_last_n: int | None = None, prefixes=("", "disc_")) -> CheckpointManager:
    """Build a manager of networks with one weight each."""
    networks = [torch.nn.Linear(1, 1) for _ in prefixes]
    fabric = cpu_fabric()
    models = [TrainableModel(network, torch.optim.Adam(network.parameters()), prefix)
              for network, prefix in zip(networks, prefixes, strict=True)]  # fmt: skip
    return CheckpointManager(fabric, TrainState(NoState(), RunningMeans(fabric)), models, folder, keep_last_n)


def save(manager, step, *, numbered=True, best=False):
    manager.state.step, manager.state.best_pending = step, best
    manager.save(numbered=numbered)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def corrupt(path: Path) -> None:
    """Flip one bit of a weight."""
    content = bytearray(path.read_bytes())
    weights = load_checkpoint(path).state_dict.values()
    content[content.index(bytes(max(weights, key=torch.numel).untyped_storage()))] ^= 0x10
    path.write_bytes(content)


def test_keep_last_n_keeps_last_and_best_beside_the_newest(tmp_path):
    manager = build_manager(tmp_path, keep_last_n=2)
    for step in (10, 20, 30, 40):
        save(manager, step, best=step == 20)
    assert names(tmp_path) == [
        "best.pth", "checkpoint_step000000030.pth", "checkpoint_step000000040.pth",
        "disc_best.pth", "disc_checkpoint_step000000030.pth", "disc_checkpoint_step000000040.pth", "disc_last.pth",
        "last.pth",
    ]  # fmt: skip
    steps = {name: load_checkpoint(tmp_path / name).global_step for name in ("best.pth", "disc_best.pth", "last.pth")}
    assert steps == {"best.pth": 20, "disc_best.pth": 20, "last.pth": 40}


def test_all_names_of_a_checkpoint_are_one_file(tmp_path):
    save(build_manager(tmp_path, prefixes=[""]), 5, best=True)
    assert {path.stat().st_ino for path in tmp_path.iterdir()} == {(tmp_path / "best.pth").stat().st_ino}


def test_best_can_be_saved_without_a_numbered_file(tmp_path):
    manager = build_manager(tmp_path, prefixes=[""])
    save(manager, 7, numbered=False, best=True)
    assert names(tmp_path) == ["best.pth"]
    assert not manager.state.best_pending


def test_files_of_later_steps_and_other_names_stay(tmp_path):
    save(build_manager(tmp_path), 900)
    (tmp_path / "checkpoint_step_mine.pth").write_text("notes")
    generator_manager = build_manager(tmp_path, keep_last_n=1, prefixes=[""])
    for step in (3, 6):
        save(generator_manager, step)
    assert names(tmp_path) == [
        "checkpoint_step000000006.pth", "checkpoint_step000000900.pth", "checkpoint_step_mine.pth",
        "disc_checkpoint_step000000900.pth", "disc_last.pth", "last.pth",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def gan_run(noise_data, expert, tmp_path_factory) -> Path:
    """A GAN run of four steps with checkpoints after two and four."""
    return run_trainer("wav2lip_gan", noise_data, tmp_path_factory.mktemp("gan"), expert, *SHORT)


@pytest.mark.parametrize("name", ["checkpoint_step000000004.pth", "disc_checkpoint_step000000004.pth"])
def test_resume_skips_a_corrupt_checkpoint(name, gan_run, noise_data, expert, tmp_path, caplog):
    for path in gan_run.glob("*checkpoint_step*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    corrupt(tmp_path / name)
    with caplog.at_level(logging.INFO):
        run_trainer("wav2lip_gan", noise_data, tmp_path, expert, *SHORT, "resume=true")
    assert f"skipped checkpoint: {tmp_path}/{name}" in caplog.text
    assert f"resuming from {tmp_path}/checkpoint_step000000002.pth" in caplog.text
    for path in gan_run.glob("*checkpoint_step000000004.pth"):
        assert is_equal(load_checkpoint(path).state_dict, load_checkpoint(tmp_path / path.name).state_dict)


@pytest.mark.parametrize("fault", ["of another save", "missing"])
def test_resume_never_mixes_models_of_two_saves(fault, gan_run, noise_data, expert, tmp_path, caplog):
    for path in gan_run.glob("*checkpoint_step*.pth"):  # without last.pth
        (tmp_path / path.name).write_bytes(path.read_bytes())
    generator, discriminator = (tmp_path / f"{prefix}checkpoint_step000000004.pth" for prefix in ("", "disc_"))
    if fault == "missing":
        discriminator.unlink()
    else:
        content = torch.load(discriminator, weights_only=True)
        content["wav2lip"]["saved_ns"] -= 1
        torch.save(content, discriminator)
    with caplog.at_level(logging.INFO):
        run_trainer("wav2lip_gan", noise_data, tmp_path, expert, *SHORT, "resume=true", "max_steps=3")
    assert f"skipped checkpoint: {discriminator if fault == 'missing' else generator}" in caplog.text
    assert f"resuming from {tmp_path}/checkpoint_step000000002.pth" in caplog.text


def test_resume_in_an_empty_folder_starts_from_the_beginning(noise_data, expert, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run_trainer("wav2lip", noise_data, tmp_path, expert, *SHORT, "resume=true", "max_steps=1")
    assert f"no complete checkpoint in {tmp_path}" in caplog.text
    assert load_checkpoint(tmp_path / "last.pth").global_step == 1


def test_corrupt_checkpoint_path_names_the_one_before(gan_run, noise_data, expert, tmp_path):
    for path in gan_run.glob("checkpoint_step*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "checkpoint_step000000004.pth"
    corrupt(path)
    overrides = [*tiny_overrides("wav2lip", noise_data, tmp_path, expert), *SHORT, f"checkpoint_path={path}"]
    with pytest.raises(InputError, match=r"step000000004\.pth: .*before it is .*step000000002\.pth$"):
        run(compose_config("wav2lip", *overrides))
