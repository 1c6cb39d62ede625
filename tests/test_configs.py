"""Every config composes, names what exists, and has the public release's keys and defaults."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from tests.train.conftest import config

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
    cfg = config(name)
    ours = {key: "???" if cfg._get_node(key)._is_missing() else cfg[key] for key in RELEASE[name]}
    assert ours == RELEASE[name]


@pytest.mark.parametrize("name", RELEASE)
@pytest.mark.parametrize("override", ["debug=tiny", "compat=public", "compat=none", "model.width=0.25"])
def test_every_choice_composes_and_builds_its_networks(name, override):
    cfg = config(name, override)
    widths = [instantiate(cfg[key]) for key in ("model", "disc") if key in cfg]
    assert len(widths) == (2 if name == "wav2lip_gan" else 1)


def test_both_compat_choices_have_the_same_switches():
    none, public = (config("syncnet", f"compat={choice}").compat for choice in ("none", "public"))
    assert set(none) == set(public)
    assert all(none[key] != public[key] for key in none)


def test_every_config_file_says_what_it_is_in_its_head():
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) >= 10
    for file in files:
        assert any(line.startswith("# ") and "@package" not in line for line in file.read_text().splitlines()[:2]), file


def test_preprocess_composes():
    with initialize_config_module("configs", version_base="1.3"):
        assert compose("preprocess", ["videos=a", "out=b", "compat=public"]).detector == "auto"
