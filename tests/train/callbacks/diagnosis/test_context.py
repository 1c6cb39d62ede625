"""Suggested commands, and groups of clips."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from train.callbacks.diagnosis.context import Commands, DataVolume, count_groups


def test_clips_in_the_data_root_are_groups_of_their_own(tmp_path):
    assert count_groups([tmp_path / str(n) for n in range(3)], [tmp_path]) == 3
    assert count_groups([tmp_path / "a" / str(n) for n in range(3)], [tmp_path]) == 1


@pytest.mark.parametrize(("seconds", "text"), [(4.0, "4.0 s"), (750.0, "12 min 30 s"), (9000.0, "2 h 30 min")])
def test_data_volume_is_readable(seconds, text):
    assert str(DataVolume(seconds, 2, 1, 10)) == f"{text} in 2 clips of 1 folder"


@pytest.mark.parametrize("folder", ["plain/data", "my data", "it's", "a=b,{c}", "ünï/1"])
def test_commands_survive_shell_and_config(folder):
    commands = Commands("train.wav2lip_gan", ["ema_decay=0.9"], folder, f"{folder}/out")
    assert shlex.split(commands.doctor()) == ["python", "-m", "preprocess.doctor", folder]
    parser = OverridesParser.create()
    for command in (commands.sync(), commands.train_expert()):
        values = {o.key_or_group: o.value() for o in parser.parse_overrides(shlex.split(command)[3:])}
        assert Path(str(values["data_root"])) == Path(folder)


def test_rerun_replaces_keys_and_resumes_both_models():
    overrides = ["data_root=d", "checkpoint_path=a.pth", "disc_checkpoint_path=b.pth", "learning_rate=1"]
    command = Commands("train.wav2lip_gan", overrides, "d", "out").rerun("learning_rate=2", resume=True)
    unchanged = "data_root=d checkpoint_path=a.pth disc_checkpoint_path=b.pth"
    assert command == f"python -m train.wav2lip_gan {unchanged} learning_rate=2 resume=true"


def test_command_of_several_processes_starts_as_many():
    commands = Commands("train.wav2lip", ["data_root=d"], "d", "out", processes=8)
    assert commands.rerun("ema_decay=null") == "torchrun --nproc_per_node=8 -m train.wav2lip data_root=d ema_decay=null"
    assert commands.overfit_test().startswith("python -m train.wav2lip data_root=d ")
