"""Configs compose, keep upstream's keys and defaults, and reject values of a wrong type or range."""

from pathlib import Path

import pytest
from hydra.utils import instantiate

import preprocess.__main__
import preprocess.pack
import preprocess.sync.__main__
import train.syncnet
from configs.schema import SCHEMAS
from configs.type_checks import keys, parse
from tests.helpers.commands import run_main
from tests.helpers.trainers import compose_config
from wav2lip.errors import InputError

CONFIGS = Path(__file__).parents[1] / "configs"
# Upstream's names, with its defaults where it has any.
COMMON = {"learning_rate": 1e-4, "nepochs": 200_000_000_000_000_000, "data_root": "???", "checkpoint_dir": "???",
          "checkpoint_path": None}  # fmt: skip
UPSTREAM = {
    "syncnet": {**COMMON, "batch_size": 64, "eval_interval": 10_000, "checkpoint_interval": 10_000},
    "wav2lip": {**COMMON, "batch_size": 16, "eval_interval": 3000, "checkpoint_interval": 3000, "syncnet_wt": 0.0,
                "syncnet_wt_on": 0.01, "sync_threshold": 0.75, "syncnet_checkpoint_path": "???",
                "betas": [0.9, 0.999]},
    "wav2lip_gan": {**COMMON, "batch_size": 16, "eval_interval": 3000, "checkpoint_interval": 3000, "syncnet_wt": 0.0,
                    "syncnet_wt_on": 0.03, "disc_wt": 0.07, "sync_threshold": 0.75, "syncnet_checkpoint_path": "???",
                    "disc_checkpoint_path": None, "betas": [0.5, 0.999]},
}  # fmt: skip
REQUIRED = {
    "preprocess": ["videos=a", "out=b"], "merge": ["out=a", "shards=[b]"],
    "sync": ["data_root=a"], "pack": ["data_root=a"],
    "syncnet": ["data_root=a", "checkpoint_dir=b"],
    "wav2lip": ["data_root=a", "checkpoint_dir=b", "syncnet_checkpoint_path=c"],
    "wav2lip_gan": ["data_root=a", "checkpoint_dir=b", "syncnet_checkpoint_path=c"],
}  # fmt: skip


@pytest.mark.parametrize("name", UPSTREAM)
def test_keys_and_defaults_are_upstreams(name):
    cfg = compose_config(name, "recipe=public")
    actual = {key: "???" if cfg._get_node(key)._is_missing() else cfg[key] for key in UPSTREAM[name]}
    assert actual == UPSTREAM[name]


@pytest.mark.parametrize("name", UPSTREAM)
@pytest.mark.parametrize(
    "override", ["debug=tiny", "compat=public", "compat=none", "recipe=public", "model.width=0.25"]
)
def test_every_choice_composes_and_builds_its_networks(name, override):
    cfg = compose_config(name, override)
    networks = [instantiate(cfg[key]) for key in ("model", "disc") if key in cfg]
    assert len(networks) == (2 if name == "wav2lip_gan" else 1)


@pytest.mark.parametrize("name", UPSTREAM)
@pytest.mark.parametrize("resolution", [96, 192, 288, 384])
def test_every_resolution_builds_matching_networks(name, resolution):
    model = "syncnet" if name == "syncnet" else "wav2lip"
    cfg = compose_config(name, f"model={model}_{resolution}", "model.width=0.0625")
    assert [instantiate(cfg[key]).resolution for key in ("model", "disc") if key in cfg][-1] == resolution
    assert compose_config(name).model.resolution == 96


def test_both_compat_choices_have_the_same_keys():
    none, public = (compose_config("syncnet", f"compat={choice}").compat for choice in ("none", "public"))
    assert set(none) == set(public)
    assert all(none[key] != public[key] for key in none)


def test_recipes_have_the_same_keys_and_differ_for_the_expert():
    choices = ("default", "public", "finetune", "distill")
    default, public, finetune, distill = (compose_config("syncnet", f"recipe={choice}").recipe for choice in choices)
    for recipe in (public, finetune, distill):
        assert list(default) == list(recipe)
        assert all(list(default[part]) == list(recipe[part]) for part in ("expert", "generator"))
    assert default.expert != public.expert
    assert {**default.generator, "mouth_weight": 1.0, "disc_init": "pytorch", "r1_wt": 0.0} == public.generator
    assert distill.expert == default.expert
    assert {**default.generator, "teacher_wt": 0.5} == distill.generator


def test_every_config_file_has_a_header():
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) >= 10
    for file in files:
        assert any(line.startswith("# ") and "@package" not in line for line in file.read_text().splitlines()[:2]), file


def compose_entry_point(name, *overrides):
    cfg = compose_config(name, *overrides)
    if name == "preprocess":  # otherwise resolved from Hydra's runtime, which needs a running command
        cfg.compat = "public" if "compat=public" in overrides else "none"
    return cfg


def parse_entry_point(name, *overrides):
    """Compose and check a config as a command does; return the checked DictConfig."""
    cfg = compose_entry_point(name, *REQUIRED[name], *overrides)
    parse(cfg, SCHEMAS[name])
    return cfg


def flatten(values, prefix=""):
    for key, value in values.items():
        yield from flatten(value, f"{prefix}{key}.") if hasattr(value, "items") else [f"{prefix}{key}"]


@pytest.mark.parametrize("name", REQUIRED)
def test_schema_has_exactly_the_keys_of_the_config(name):
    cfg = compose_entry_point(name, *REQUIRED[name])
    assert sorted(key for key, _ in keys(SCHEMAS[name])) == sorted(flatten(cfg))


@pytest.mark.parametrize(("name", "override", "condition"), [
    ("preprocess", "min_clip_seconds=abc", "a number"),
    ("preprocess", "min_clip_seconds=nan", "a number"),
    ("preprocess", "max_clip_seconds=abc", "a number or null"),
    ("preprocess", "val=x", "a number"),
    ("preprocess", "val=null", "a number"),
    ("preprocess", "val=true", "a number"),
    ("preprocess", "workers=two", "an integer"),
    ("preprocess", "workers=1.5", "an integer"),
    ("preprocess", "batch_size=x", "an integer"),
    ("preprocess", "chunk_minutes=x", "a number"),
    ("preprocess", "max_gap_frames=x", "an integer"),
    ("preprocess", "smooth_window_frames=x", "an integer or auto"),
    ("preprocess", "stages=5", "a word or a list of words"),
    ("preprocess", "stages=[probe,5]", "a word or a list of words"),
    ("preprocess", "overwrite=1", "true or false"),
    ("preprocess", "detector=[s3fd]", "a word"),
    ("preprocess", "filelists=[a]", "a path or null"),
    ("preprocess", "videos=null", "a path"),
    ("preprocess", "quality=null", "a group of keys"),
    ("preprocess", "quality.min_face_pixels=big", "a number or null"),
    ("preprocess", "sync.bootstrap_minutes=x", "a number"),
    ("preprocess", "sync.min_confidence=abc", "a number"),
    ("preprocess", "shots.threshold=x", "a number or null"),
    ("preprocess", "pack=null", "a group of keys"),
    ("preprocess", "pack.sizes=96", "a list of integers"),
    ("preprocess", "pack.sizes=[big]", "a list of integers"),
    ("sync", "workers=x", "an integer"),
    ("sync", "max_offset_frames=x", "an integer"),
    ("sync", "folds=x", "an integer"),
    ("sync", "bootstrap_minutes=x", "a number"),
    ("sync", "min_confidence=abc", "a number"),
    ("pack", "sizes=96", "a list of integers"),
    ("pack", "workers=x", "an integer"),
    ("pack", "shard_mib=x", "an integer"),
    ("pack", "encoding=png", "one of raw, jpeg"),
    ("syncnet", "num_workers=x", "an integer >= 0 or auto"),
    ("syncnet", "num_workers=-1", "an integer >= 0 or auto"),
    ("syncnet", "max_steps=x", "an integer or null"),
    ("syncnet", "compile=yes_please", "true or false or auto"),
    ("syncnet", "ema_decay=1", "a number > 0 and < 1 or null"),
    ("syncnet", "grad_clip_norm=0", "a number > 0 or null"),
    ("syncnet", "keep_last_n=0", "an integer >= 1 or null"),
    ("syncnet", "lr_schedule=linear", "one of auto, constant, cosine"),
    ("syncnet", "device_cache_fraction=1.5", "a number > 0 and <= 1"),
    ("syncnet", "health.lr_backoff=1.5", "a number > 0 and < 1"),
    ("syncnet", "health.patience=0", "an integer >= 1"),
    ("syncnet", "early_stopping.patience=0", "an integer >= 1 or null"),
    ("wav2lip", "learning_rate=x", "a number >= 0"),
    ("wav2lip", "betas=0.9", "a list of numbers"),
    ("wav2lip", "betas=[0.9]", "two numbers"),
    ("wav2lip", "model.width=x", "a number > 0"),
    ("wav2lip", "mouth_weight=0", "a number > 0"),
    ("wav2lip_gan", "compat.save_first=2", "true or false"),
    ("wav2lip_gan", "disc_wt=high", "a number or a list of [step, weight]"),
    ("wav2lip_gan", "disc_loss=wgan", "one of bce, hinge"),
    ("wav2lip_gan", "disc_spectral_norm=1", "true or false"),
    ("wav2lip_gan", "disc_init=xavier", "one of he, pytorch"),
    ("wav2lip_gan", "r1_wt=-1", "a number >= 0"),
    ("wav2lip_gan", "r1_interval=0", "an integer >= 1"),
    ("wav2lip_gan", "feature_matching_wt=x", "a number or a list of [step, weight]"),
    ("wav2lip", "syncnet_wt=[[0,0.1],[5]]", "a number or a list of [step, weight]"),
])  # fmt: skip
def test_value_of_wrong_type_or_range_is_rejected(name, override, condition):
    with pytest.raises(InputError) as error:
        parse_entry_point(name, override)
    assert str(error.value).startswith(f"{override}: must be {condition}")


@pytest.mark.parametrize(("name", "override"), [
    ("preprocess", "min_clip_seconds=3"),
    ("wav2lip", "syncnet_wt_on=0"),
    ("wav2lip", "vgg_wt=[[0,0],[500,0.1]]"),
    ("preprocess", "max_clip_seconds=null"),
    ("preprocess", "smooth_window_frames=7"),
    ("preprocess", "smooth_window_frames=auto"),
    ("preprocess", "stages=[quality,report]"),
    ("preprocess", "stages='quality,report'"),
    ("preprocess", "shots.threshold=null"),
    ("preprocess", "quality.min_face_pixels=null"),
    ("preprocess", "pack.sizes=[]"),
    ("preprocess", "sync.bootstrap_minutes=inf"),
    ("preprocess", "filelists=c"),
    ("preprocess", "compat=public"),
    ("sync", "expert=c.pth"),
    ("pack", "sizes=[96,192]"),
    ("syncnet", "num_workers=2"),
    ("syncnet", "max_steps=10"),
    ("syncnet", "devices=[0,1]"),
    ("syncnet", "devices=auto"),
    ("syncnet", "compile=false"),
    ("syncnet", "eval_windows=all"),
    ("syncnet", "debug=tiny"),
    ("syncnet", "recipe=public"),
    ("syncnet", "recipe.expert.grad_clip_norm=1.0"),
    ("wav2lip", "recipe=public"),
    ("wav2lip_gan", "recipe.generator.ema_decay=0.99"),
    ("wav2lip", "recipe=distill"),
    ("wav2lip", "precision=32"),
    ("wav2lip", "compat=public"),
    ("wav2lip_gan", "compat=public"),
])  # fmt: skip
def test_value_of_right_type_is_accepted(name, override):
    parse_entry_point(name, override)


@pytest.mark.parametrize(("name", "overrides", "key"), [
    ("syncnet", ["recipe=finetune"], "reset_optimizer"),
    ("syncnet", ["lr_schedule=cosine"], "lr_schedule"),
    ("syncnet", ["batch_size=1"], "batch_size"),
    ("syncnet", ["infonce_wt=1", "windows_per_clip=1"], "infonce_wt"),
    ("wav2lip", ["compat=public", "batch_size=1"], "batch_size"),
])  # fmt: skip
def test_impossible_combination_is_rejected(name, overrides, key):
    with pytest.raises(InputError, match=f"^{key}="):
        parse_entry_point(name, *overrides)


@pytest.mark.parametrize("name", REQUIRED)
def test_defaults_are_valid_and_a_missing_key_is_named(name):
    parse_entry_point(name)
    first = sorted(REQUIRED[name])[0].split("=")[0]
    with pytest.raises(InputError, match=f"^{first}: must be set; add {first}=... to the command"):
        parse(compose_entry_point(name), SCHEMAS[name])


def test_path_of_digits_is_a_path():
    assert parse_entry_point("syncnet", "data_root=2024", "checkpoint_path=7").data_root == "2024"


MAINS = {
    "preprocess": preprocess.__main__.main, "preprocess.sync": preprocess.sync.__main__.main,
    "preprocess.pack": preprocess.pack.main, "train.syncnet": train.syncnet.main,
}  # fmt: skip


@pytest.mark.parametrize("command", [
    ["preprocess", "pack=null"], ["preprocess.sync", "min_confidence=abc"], ["preprocess.pack", "sizes=96"],
    ["train.syncnet", "batch_size=x"],
])  # fmt: skip
def test_every_command_rejects_a_wrong_type_with_exit_code_2(command):
    name = command[0].split(".")[-1]
    process = run_main(MAINS[command[0]], *REQUIRED[name], command[1])
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.splitlines()[-1].startswith(f"error: {command[1]}: must be ")
