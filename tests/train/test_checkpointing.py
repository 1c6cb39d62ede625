"""Which checkpoints a training leaves, and which one it goes on from when some are damaged."""

import logging
import os
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from tests.train.conftest import config, run, same
from train import checkpointing
from train.checkpointing import Checkpoints, Progress, same_file
from train.trained import Trained
from train.wav2lip import train as train_generator
from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError


def checkpoints(folder: Path, keep: int | None = None, prefixes=("", "disc_")) -> Checkpoints:
    """Of networks with one weight each."""
    networks = [torch.nn.Linear(1, 1) for _ in prefixes]
    fabric = Fabric(accelerator="cpu", devices=1)
    trained = [Trained(network, torch.optim.Adam(network.parameters()), prefix)
               for network, prefix in zip(networks, prefixes, strict=True)]  # fmt: skip
    return Checkpoints(fabric, folder, trained, keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(path: Path) -> None:
    """Turn one bit of a weight."""
    content = bytearray(path.read_bytes())
    weights = load_checkpoint(path).state_dict.values()
    content[content.index(bytes(max(weights, key=torch.numel).untyped_storage()))] ^= 0x10
    path.write_bytes(content)


def test_of_the_numbered_checkpoints_the_newest_are_kept_and_last_and_best_beside_them(tmp_path):
    kept = checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30, 40):
        kept.save(Progress(step), 0, {}, best=step == 20)
    assert names(tmp_path) == [
        "best.pth", "checkpoint_step000000030.pth", "checkpoint_step000000040.pth",
        "disc_best.pth", "disc_checkpoint_step000000030.pth", "disc_checkpoint_step000000040.pth", "disc_last.pth",
        "last.pth",
    ]  # fmt: skip
    steps = {name: load_checkpoint(tmp_path / name).global_step for name in ("best.pth", "disc_best.pth", "last.pth")}
    assert steps == {"best.pth": 20, "disc_best.pth": 20, "last.pth": 40}


def test_all_names_of_a_checkpoint_take_the_room_of_one(tmp_path):
    checkpoints(tmp_path, prefixes=[""]).save(Progress(5), 0, {}, best=True)
    assert {path.stat().st_ino for path in tmp_path.iterdir()} == {(tmp_path / "best.pth").stat().st_ino}


def test_the_best_can_be_written_where_no_numbered_one_is_due(tmp_path):
    checkpoints(tmp_path, prefixes=[""]).save(Progress(7), 0, {}, numbered=False, best=True)
    assert names(tmp_path) == ["best.pth"]


def test_checkpoints_of_later_steps_and_of_others_are_not_removed(tmp_path):
    checkpoints(tmp_path).save(Progress(900), 0, {})
    (tmp_path / "checkpoint_step_mine.pth").write_text("notes")
    generator_alone = checkpoints(tmp_path, keep=1, prefixes=[""])
    for step in (3, 6):
        generator_alone.save(Progress(step), 0, {})
    assert names(tmp_path) == [
        "checkpoint_step000000006.pth", "checkpoint_step000000900.pth", "checkpoint_step_mine.pth",
        "disc_checkpoint_step000000900.pth", "disc_last.pth", "last.pth",
    ]  # fmt: skip


def test_what_a_killed_run_left_half_written_goes_with_the_next_save(tmp_path):
    (tmp_path / ".checkpoint_step000000003.pth.123.partial").write_bytes(b"half")
    checkpoints(tmp_path, prefixes=[""]).save(Progress(6), 0, {})
    assert names(tmp_path) == ["checkpoint_step000000006.pth", "last.pth"]


def test_where_there_are_no_hard_links_a_copy_is_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(checkpointing.os, "link", refuse)
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    same_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert not os.path.samefile(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]


@pytest.fixture(scope="module")
def two_saved(noise_data, expert, tmp_path_factory) -> Path:
    """A GAN run of four steps with checkpoints after two and four."""
    folder = tmp_path_factory.mktemp("gan")
    return run("wav2lip_gan", noise_data, folder, expert, *SHORT)


SHORT = ["checkpoint_interval=2", "max_steps=4", "eval_interval=100", "batch_size=1", "model.width=0.0625"]


@pytest.mark.parametrize("damaged", ["checkpoint_step000000004.pth", "disc_checkpoint_step000000004.pth"])
def test_a_damaged_checkpoint_is_passed_over_and_the_pair_before_it_ends_the_same(
    damaged, two_saved, noise_data, expert, tmp_path, caplog
):
    for path in two_saved.glob("*checkpoint_step*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path / damaged)
    with caplog.at_level(logging.INFO):
        run("wav2lip_gan", noise_data, tmp_path, expert, *SHORT, "resume=true")
    assert f"passed over: {tmp_path}/{damaged}: is not a whole checkpoint" in caplog.text
    assert f"goes on from {tmp_path}/checkpoint_step000000002.pth" in caplog.text
    for name in ("checkpoint_step000000004.pth", "disc_checkpoint_step000000004.pth"):
        assert same(load_checkpoint(two_saved / name).state_dict, load_checkpoint(tmp_path / name).state_dict)


def test_generator_and_critic_are_never_taken_from_different_moments(two_saved, noise_data, expert, tmp_path, caplog):
    for path in two_saved.glob("*checkpoint_step*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    generator, critic = (tmp_path / f"{prefix}checkpoint_step000000004.pth" for prefix in ("", "disc_"))
    for kind in ("of another save", "absent"):
        other = torch.load(critic, weights_only=True)
        other["wav2lip"]["saved"] -= 1
        torch.save(other, critic) if kind == "of another save" else critic.unlink()
        for last in tmp_path.glob("*last.pth"):  # as in a folder that was copied together
            last.unlink()
        caplog.clear()
        with caplog.at_level(logging.INFO):
            run("wav2lip_gan", noise_data, tmp_path, expert, *SHORT, "resume=true", "max_steps=3")
        assert f"passed over: {generator if kind == 'of another save' else critic}" in caplog.text
        assert f"goes on from {tmp_path}/checkpoint_step000000002.pth" in caplog.text
        for path in tmp_path.glob("*000000003.pth"):
            path.unlink()


def test_auto_in_an_empty_folder_begins_and_says_so(noise_data, expert, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run("wav2lip", noise_data, tmp_path, expert, *SHORT, "resume=true", "max_steps=1")
    assert f"there is no whole checkpoint in {tmp_path} yet" in caplog.text
    assert load_checkpoint(tmp_path / "last.pth").global_step == 1


def test_a_damaged_checkpoint_that_is_asked_for_by_name_is_refused_with_the_one_before_it(
    two_saved, noise_data, expert, tmp_path
):
    for path in two_saved.glob("checkpoint_step*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "checkpoint_step000000004.pth"
    damage(path)
    asked = [f"data_root={noise_data}", f"checkpoint_dir={tmp_path}", f"syncnet_checkpoint_path={expert}", "debug=tiny"]
    with pytest.raises(InputError, match=r"step000000004\.pth: is not a whole .* before it is .*step000000002\.pth$"):
        train_generator(config("wav2lip", *asked, *SHORT, f"checkpoint_path={path}"))
