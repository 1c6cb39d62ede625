"""Every config composes, names what exists, has the public release's keys and defaults, and refuses other types."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from configs.entry import check
from tests.train.conftest import config
from wav2lip.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
# spec of the release: names, and defaults where it has them
COMMON = {"learning_rate": 1e-4, "nepochs": 200_000_000_000_000_000, "data_root": "???", "checkpoint_dir": "???",
          "checkpoint_path": None}  # fmt: skip
RELEASE = {
    "syncnet": {**COMMON, "batch_size": 64, "eval_interval": 10_000, "checkpoint_interval": 10_000},
    "wav2lip": {**COMMON, "batch_size": 16, "eval_interval": 3000, "checkpoint_interval": 3000, "syncnet_wt": 0.0,
                "syncnet_wt_on": 0.01, "sync_threshold": 0.75, "syncnet_checkpoint_path": "???",
                "betas": [0.9, 0.999]},
    "wav2lip_gan": {**COMMON, "batch_size": 16, "eval_interval": 3000, "checkpoint_interval": 3000, "syncnet_wt": 0.0,
                    "syncnet_wt_on": 0.03, "disc_wt": 0.07, "sync_threshold": 0.75, "syncnet_checkpoint_path": "???",
                    "disc_checkpoint_path": None, "betas": [0.5, 0.999]},
}  # fmt: skip


@pytest.mark.parametrize("name", RELEASE)
def test_keys_and_defaults_are_the_releases(name):
    cfg = config(name, "recipe=public")
    ours = {key: "???" if cfg._get_node(key)._is_missing() else cfg[key] for key in RELEASE[name]}
    assert ours == RELEASE[name]


@pytest.mark.parametrize("name", RELEASE)
@pytest.mark.parametrize(
    "override", ["debug=tiny", "compat=public", "compat=none", "recipe=public", "model.width=0.25"]
)
def test_every_choice_composes_and_builds_its_networks(name, override):
    cfg = config(name, override)
    widths = [instantiate(cfg[key]) for key in ("model", "disc") if key in cfg]
    assert len(widths) == (2 if name == "wav2lip_gan" else 1)


@pytest.mark.parametrize("name", RELEASE)
@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_every_resolution_composes_and_builds_networks_that_match(name, resolution):
    model = "syncnet" if name == "syncnet" else "wav2lip"
    cfg = config(name, f"model={model}_{resolution}", "model.width=0.0625")
    assert [instantiate(cfg[key]).resolution for key in ("model", "disc") if key in cfg][-1] == resolution
    assert config(name).model.resolution == 96


def test_both_compat_choices_have_the_same_switches():
    none, public = (config("syncnet", f"compat={choice}").compat for choice in ("none", "public"))
    assert set(none) == set(public)
    assert all(none[key] != public[key] for key in none)


def test_every_recipe_says_everything_and_those_of_the_release_and_of_here_differ_for_the_expert_alone():
    choices = ("default", "public", "finetune")
    default, public, finetune = (config("syncnet", f"recipe={choice}").recipe for choice in choices)
    for other in (public, finetune):
        assert list(default) == list(other)
        assert all(list(default[part]) == list(other[part]) for part in ("expert", "generator"))
    assert default.expert != public.expert
    assert default.generator == public.generator


def test_every_config_file_says_what_it_is_in_its_head():
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) >= 10
    for file in files:
        assert any(line.startswith("# ") and "@package" not in line for line in file.read_text().splitlines()[:2]), file


def test_preprocess_composes():
    with initialize_config_module("configs", version_base="1.3"):
        assert compose("preprocess", ["videos=a", "out=b", "compat=public"]).detector == "auto"


REQUIRED = {
    "preprocess": ["videos=a", "out=b"], "sync": ["data_root=a"], "pack": ["data_root=a"],
    "syncnet": ["data_root=a", "checkpoint_dir=b"],
    "wav2lip": ["data_root=a", "checkpoint_dir=b", "syncnet_checkpoint_path=c"],
    "wav2lip_gan": ["data_root=a", "checkpoint_dir=b", "syncnet_checkpoint_path=c"],
}  # fmt: skip


def composed(name, *overrides):
    cfg = config(name, *overrides)
    if name == "preprocess":
        cfg.compat = "none"  # else from what Hydra knows of a running command
    return cfg


def checked(name, *overrides):
    """The config of a command as it is given to the program."""
    cfg = composed(name, *REQUIRED[name], *overrides)
    check(cfg, composed(name))
    return cfg


@pytest.mark.parametrize(("name", "override", "wanted"), [
    ("preprocess", "shortest=abc", "a number"),
    ("preprocess", "shortest=nan", "a number"),
    ("preprocess", "longest=abc", "a number or null"),
    ("preprocess", "val=x", "a number"),
    ("preprocess", "val=null", "a number"),
    ("preprocess", "val=true", "a number"),
    ("preprocess", "workers=two", "a whole number"),
    ("preprocess", "workers=1.5", "a whole number"),
    ("preprocess", "batch_size=x", "a whole number"),
    ("preprocess", "part_minutes=x", "a number"),
    ("preprocess", "longest_gap=x", "a whole number"),
    ("preprocess", "smooth_window=x", "a whole number or auto"),
    ("preprocess", "stages=5", "a word or a list of words"),
    ("preprocess", "stages=[probe,5]", "a word or a list of words"),
    ("preprocess", "overwrite=1", "true or false"),
    ("preprocess", "detector=[s3fd]", "a word"),
    ("preprocess", "filelists=[a]", "a path or null"),
    ("preprocess", "videos=null", "a path"),
    ("preprocess", "quality=null", "a group of keys"),
    ("preprocess", "quality.face_pixels=big", "a number or null"),
    ("preprocess", "sync.minutes=x", "a number"),
    ("preprocess", "sync.sure=abc", "a number"),
    ("preprocess", "shots.threshold=x", "a number or null"),
    ("preprocess", "pack=null", "a group of keys"),
    ("preprocess", "pack.sizes=96", "a list of whole numbers"),
    ("preprocess", "pack.sizes=[big]", "a list of whole numbers"),
    ("sync", "workers=x", "a whole number"),
    ("sync", "reach=x", "a whole number"),
    ("sync", "folds=x", "a whole number"),
    ("sync", "minutes=x", "a number"),
    ("sync", "sure=abc", "a number"),
    ("pack", "sizes=96", "a list of whole numbers"),
    ("pack", "workers=x", "a whole number"),
    ("pack", "shard_mib=x", "a whole number"),
    ("syncnet", "num_workers=x", "a whole number or auto"),
    ("syncnet", "max_steps=x", "a whole number or null"),
    ("wav2lip", "learning_rate=x", "a number"),
    ("wav2lip", "betas=0.9", "a list of numbers"),
    ("wav2lip", "model.width=x", "a number"),
    ("wav2lip_gan", "compat.save_first=2", "true or false"),
    ("wav2lip_gan", "disc_wt=high", "a number or a list of [step, weight]"),
    ("wav2lip", "syncnet_wt=[[0,0.1],[5]]", "a number or a list of [step, weight]"),
])  # fmt: skip
def test_a_value_of_another_type_is_refused_in_one_sentence(name, override, wanted):
    with pytest.raises(InputError) as refused:
        checked(name, override)
    shown, rest = str(refused.value).split(": ", 1)
    assert shown == override
    assert rest.startswith(f"is not {wanted}; give for instance {override.split('=')[0]}")


@pytest.mark.parametrize(("name", "override"), [
    ("preprocess", "shortest=3"),
    ("wav2lip", "syncnet_wt_on=0"),
    ("wav2lip", "perceptual_wt=[[0,0],[500,0.1]]"),
    ("preprocess", "longest=null"),
    ("preprocess", "smooth_window=7"),
    ("preprocess", "smooth_window=auto"),
    ("preprocess", "stages=[quality,report]"),
    ("preprocess", "stages='quality,report'"),
    ("preprocess", "shots.threshold=null"),
    ("preprocess", "quality.face_pixels=null"),
    ("preprocess", "pack.sizes=[]"),
    ("preprocess", "sync.minutes=inf"),
    ("preprocess", "filelists=c"),
    ("preprocess", "compat=public"),
    ("sync", "expert=c.pth"),
    ("pack", "sizes=[96,192]"),
    ("syncnet", "num_workers=2"),
    ("syncnet", "max_steps=10"),
    ("syncnet", "debug=tiny"),
    ("syncnet", "recipe=public"),
    ("syncnet", "recipe.expert.clip=1.0"),
    ("wav2lip", "recipe=public"),
    ("wav2lip_gan", "recipe.generator.ema=0.99"),
    ("wav2lip", "precision=32"),
    ("wav2lip", "compat=public"),
    ("wav2lip_gan", "compat=public"),
])  # fmt: skip
def test_what_a_key_may_be_is_taken(name, override):
    checked(name, override)


@pytest.mark.parametrize("name", REQUIRED)
def test_the_defaults_of_every_command_pass_and_a_key_that_must_be_given_is_named(name):
    checked(name)
    needed = sorted(REQUIRED[name])[0].split("=")[0]
    with pytest.raises(InputError, match=f"^{needed} is not given; add {needed}=... to the command"):
        check(composed(name), composed(name))


def test_a_path_of_digits_is_a_path():
    assert checked("syncnet", "data_root=2024", "checkpoint_path=7").data_root == "2024"


@pytest.mark.parametrize("command", [
    ["preprocess", "pack=null"], ["preprocess.sync", "sure=abc"], ["preprocess.pack", "sizes=96"],
    ["train.syncnet", "batch_size=x"],
])  # fmt: skip
def test_every_command_refuses_a_wrong_type_with_code_2_and_no_traceback(command):
    name = command[0].split(".")[-1]
    arguments = [sys.executable, "-m", command[0], *REQUIRED[name], command[1]]
    ran = subprocess.run(arguments, cwd=CONFIGS.parent, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith(f"error: {command[1]}: is not ")
    assert "Traceback" not in ran.stderr
