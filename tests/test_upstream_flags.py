"""Upstream's flags after the commands with keys; tests/test_upstream_quick_start.py runs such command lines."""

import sys

import pytest
from hydra._internal.utils import get_args_parser

from configs import cli
from configs.upstream_flags import HYDRA_FLAGS, translate_flags
from tests.helpers.trainers import compose_config
from wav2lip.errors import InputError


@pytest.mark.parametrize(
    ("config", "command", "overrides"),
    [
        (
            "preprocess", "--data_root mvlrs_v1/main --preprocessed_root lrs2_preprocessed/ --batch_size 8",
            ["videos=mvlrs_v1/main", "out=lrs2_preprocessed", "batch_size=8"],
        ),
        (
            "syncnet", "--data_root lrs2_preprocessed/ --checkpoint_dir expert debug=tiny",
            ["data_root=lrs2_preprocessed", "checkpoint_dir=expert", "debug=tiny"],
        ),
        (
            "wav2lip", "--data_root=a --checkpoint_dir b --syncnet_checkpoint_path c.pth --checkpoint_path d.pth",
            ["data_root=a", "checkpoint_dir=b", "syncnet_checkpoint_path=c.pth", "checkpoint_path=d.pth"],
        ),
        ("wav2lip_gan", "--disc_checkpoint_path d.pth --resume", ["disc_checkpoint_path=d.pth", "resume=true"]),
        ("syncnet", "--early_stopping.patience 5 --cfg job", ["early_stopping.patience=5", "--cfg", "job"]),
    ],
)  # fmt: skip
def test_flags_become_keys(config, command, overrides):
    assert translate_flags(command.split(), config)[0] == overrides


def test_line_states_keys_and_ignored_flags():
    overrides, line = translate_flags(["--data_root", "a", "--ngpu", "2", "test=0"], "preprocess")
    assert overrides == ["videos=a", "test=0"]
    assert line == (
        "flags read as keys: videos=a; --ngpu is ignored, the workers use all GPUs that CUDA_VISIBLE_DEVICES leaves"
    )
    assert translate_flags(["videos=a", "--help"], "preprocess") == (["videos=a", "--help"], None)


@pytest.mark.parametrize("path", ["my data/a", "C:\\my videos", "it's", "a=b", "{x}", "дом"])
def test_paths_reach_the_config_unchanged(path):
    overrides, _ = translate_flags(["--data_root", path], "syncnet")
    assert compose_config("syncnet", *overrides).data_root.replace("/", "\\") == path.replace("/", "\\")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "3"], "--speed: unknown flag; settings are given as KEY=VALUE, see --help for all keys"),
        (["-x"], "-x: unknown flag; settings are given as KEY=VALUE, see --help for all keys"),
        (
            ["--data_root", "--batch_size", "8"],
            "--data_root: needs a value; write --data_root VALUE or data_root=VALUE",
        ),
        (["--checkpoint_dir"], "--checkpoint_dir: needs a value; write --checkpoint_dir VALUE or checkpoint_dir=VALUE"),
    ],
)
def test_wrong_flag_is_one_sentence(arguments, message, monkeypatch, capsys):
    with pytest.raises(InputError) as raised:
        translate_flags(arguments, "syncnet")
    assert str(raised.value) == message
    monkeypatch.setattr(sys, "argv", ["train.syncnet", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda cfg: 0, "syncnet")
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_flags_of_hydra_are_known():
    flags = {flag for action in get_args_parser()._actions for flag in action.option_strings}
    assert flags == HYDRA_FLAGS
