"""Start an entry point from its config: overrides on the command line, one sentence and exit code 2 for bad input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wav2lip import errors

MISSING = "???"  # the default of a key that must be given: all of these are paths
FITS: dict[str, Callable[[Any], bool]] = {  # what a value can be called, and whether it is that
    "a whole number": lambda value: type(value) is int,  # exactly: true is an int to Python
    "a number": lambda value: type(value) in (int, float) and value == value,
    "true or false": lambda value: type(value) is bool,
    "a word": lambda value: isinstance(value, str),
    "a path": lambda value: type(value) in (str, int),  # a folder may be called 2024
    "auto": lambda value: value == "auto",
    "all": lambda value: value == "all",
    "null": lambda value: value is None,
    "a list of whole numbers": lambda value: _all(value, "a whole number"),
    "a list of numbers": lambda value: _all(value, "a number"),
    "a list of words": lambda value: _all(value, "a word"),
    "a list of [step, weight]": lambda value: _pairs(value),
    "a group of keys": lambda value: isinstance(value, dict),
}
BY_DEFAULT = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", dict: "a group of keys"}
WEIGHT = ("a number", "a list of [step, weight]")  # of a loss: the same all the time, or a line through points
MORE: dict[str, tuple[str, ...]] = {  # what the keys may be whose defaults do not tell
    "clip": ("a number", "null"),
    "compile": ("true or false", "auto"),
    "devices": ("a whole number", "auto", "a list of whole numbers"),
    "disc_learning_rate": ("a number", "null"),
    "disc_wt": WEIGHT,
    "ema": ("a number", "null"),
    "eval_windows": ("a whole number", "all"),
    "freeze": ("a list of words",),
    "keep": ("a whole number", "null"),
    "longest": ("a number", "null"),
    "max_steps": ("a whole number", "null"),
    "num_workers": ("a whole number", "auto"),
    "part_minutes": ("a number",),
    "perceptual_wt": WEIGHT,
    "precision": ("a word", "a whole number"),
    "quality.*": ("a number", "null"),
    "recipe.expert.clip": ("a number", "null"),
    "recipe.expert.ema": ("a number", "null"),
    "recipe.generator.clip": ("a number", "null"),
    "recipe.generator.ema": ("a number", "null"),
    "shots.threshold": ("a number", "null"),
    "smooth_window": ("a whole number", "auto"),
    "stages": ("a word", "a list of words"),
    "stop.below": ("a number", "null"),
    "stop.patience": ("a whole number", "null"),
    "syncnet_wt": WEIGHT,
    "syncnet_wt_on": WEIGHT,
}


def run(task: Callable[[DictConfig], int | None], config: str) -> None:
    """Compose configs/CONFIG.yaml with the command line's overrides and run `task` on it.

    Hydra's flags --help, --cfg job and --config-dir work; --multirun is refused, since a run ends the process.
    Exit codes: the task's (None is 0); 2 with a sentence for a bad override, a missing value or bad input.
    """
    if {"--multirun", "-m"} & set(sys.argv[1:]):
        errors.exit_with("--multirun is not for this command; start it once for each setting")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # its errors come up to us instead of being printed there

    def checked(cfg: DictConfig) -> int | None:
        check(cfg, hydra.compose(config))
        return task(cfg)

    # Left by SystemExit from inside, or Hydra would add lines of its own about the failed job.
    main = hydra.main(version_base="1.3", config_path="pkg://configs", config_name=config)(
        lambda cfg: errors.run(lambda: checked(cfg))
    )
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split()).split(" To append to your")[0].rstrip(".")  # "+key" would be ignored
        errors.exit_with(f"config: {reason}; see --help for the keys there are")


def check(cfg: DictConfig, defaults: DictConfig) -> None:
    """See that every value is of the kind that its default is of; a path that is a number becomes text.

    defaults: the config as it is without overrides.
    Raises: InputError for the first key that is not given or whose value is of another kind.
    """
    values: list[Any] = [OmegaConf.to_container(config, resolve=True) for config in (defaults, cfg)]
    leaves = list(_leaves(*values))
    missing = sorted(key for key, _, value in leaves if value == MISSING)
    if missing:
        raise errors.InputError(f"{missing[0]} is not given; add {missing[0]}=... to the command")
    for key, default, value in leaves:
        wanted = kinds(key, default)
        if not any(FITS[kind](value) for kind in wanted):
            example = _example(key, default)
            raise errors.InputError(f"{key}={text(value)}: is not {' or '.join(wanted)}; give for instance {example}")
        if "a path" in wanted and value is not None:
            OmegaConf.update(cfg, key, str(value))


def _leaves(defaults: Mapping[str, Any], given: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each key with its default and its value; a group only where it was replaced by something else."""
    for name, default in defaults.items():
        key, value = f"{group}{name}", given.get(name, MISSING)
        if isinstance(default, dict) and isinstance(value, dict):
            yield from _leaves(default, value, f"{key}.")
        else:
            yield key, default, value


def kinds(key: str, default: Any) -> tuple[str, ...]:
    """What the value of a key may be, in words: names of FITS."""
    more = MORE.get(key) or MORE.get(f"{key.rpartition('.')[0]}.*")
    if more and any(FITS[kind](default) for kind in more):  # else it is a key of the same name in another config
        return more
    if default is None or default == MISSING:
        return ("a path",) if default else ("a path", "null")
    if isinstance(default, list):
        return (f"a list of {BY_DEFAULT[type(default[0])].removeprefix('a ')}s",)
    return (BY_DEFAULT[type(default)],)


def _all(value: Any, kind: str) -> bool:
    return isinstance(value, list) and all(FITS[kind](item) for item in value)


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_all(item, "a number") and len(item) == 2 for item in value)


def _example(key: str, default: Any) -> str:
    if isinstance(default, dict):
        name, value = next(iter(default.items()))
        return _example(f"{key}.{name}", value)
    return f"{key}={'PATH' if default == MISSING else text(default)}"


def text(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, list):
        return f"[{','.join(text(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{text(item)}" for key, item in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
