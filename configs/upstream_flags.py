"""Upstream's flags on the command lines of commands with keys: `--data_root DIR` becomes `data_root=DIR`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from configs.schema import SCHEMAS
from configs.type_checks import is_path, keys
from wav2lip.demo.commands import path_override
from wav2lip.errors import InputError

# By command: upstream's names of keys that are called differently here.
RENAMED = {"preprocess": {"data_root": "videos", "preprocessed_root": "out"}}
# By command: upstream's flags that need no key, with the reason.
OMITTED = {"preprocess": {"ngpu": "the workers use all GPUs that CUDA_VISIBLE_DEVICES leaves"}}
HYDRA_FLAGS = frozenset((
    "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r",
    "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn", "--config-dir",
    "-cd", "--experimental-rerun", "--info", "-i",
))  # fmt: skip


def translate_flags(arguments: Sequence[str], config: str) -> tuple[list[str], str | None]:
    """Translate flags into overrides: those of upstream, and any `--KEY VALUE` whose KEY is in the config.

    Returns: the arguments, and a line about the translation; None if there was no flag.
    Raises: InputError for an unknown flag, and for a flag without its value.
    """
    kinds: dict[str, Any] = dict(keys(SCHEMAS[config]))
    overrides: list[str] = []
    translated: list[str] = []
    notes: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, _, value = word.partition("=")
        if not word.startswith("-") or flag in HYDRA_FLAGS:
            overrides.append(word)
            continue
        name = flag.removeprefix("--").replace("-", "_")
        key = RENAMED.get(config, {}).get(name, name)
        reason = OMITTED.get(config, {}).get(name)
        if reason is None and (key not in kinds or not flag.startswith("--")):
            raise InputError(f"{flag}: unknown flag; settings are given as KEY=VALUE, see --help for all keys")
        if kinds.get(key) is bool and not value:
            value = "true"
        value = value or _next_value(words, flag, key)
        if reason is not None:
            notes.append(f"{flag} is ignored, {reason}")
            continue
        translated.append(path_override(key, Path(value)) if is_path(kinds[key]) else f"{key}={value}")
        overrides.append(translated[-1])
    lines = [f"flags read as keys: {' '.join(translated)}"] if translated else []
    return overrides, "; ".join(lines + notes) or None


def _next_value(words: Iterator[str], flag: str, key: str) -> str:
    value = next(words, "")
    if not value or value.startswith("--"):
        raise InputError(f"{flag}: needs a value; write {flag} VALUE or {key}=VALUE")
    return value
