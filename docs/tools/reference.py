"""Generate the reference of all config keys: python -m docs.tools.reference > docs/configuration.md

Names, order and explanations come from the YAML files, types from configs.schema, defaults from the composed configs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from configs.schema import SCHEMAS
from configs.type_checks import MISSING, describe, format_value, keys
from docs.tools.comments import ConfigKey, read_header, read_keys

CONFIGS = Path(__file__).parents[2] / "configs"
# Heading, file with the keys, and the entry point whose config has their defaults.
SECTIONS = (
    ("All three trainers", "training", "syncnet"),
    ("Both trainers of the generator", "generator", "wav2lip"),
    ("python -m train.syncnet", "syncnet", "syncnet"),
    ("python -m train.wav2lip", "wav2lip", "wav2lip"),
    ("python -m train.wav2lip_gan", "wav2lip_gan", "wav2lip_gan"),
    ("python -m preprocess", "preprocess", "preprocess"),
    ("python -m preprocess.merge", "merge", "merge"),
    ("python -m preprocess.sync", "sync", "sync"),
    ("python -m preprocess.pack", "pack", "pack"),
)
GROUPS = ("model", "disc", "recipe", "compat", "debug")
INTRODUCTION = """# Configuration

Keys of `python -m train.syncnet`, `train.wav2lip`, `train.wav2lip_gan`, `preprocess`,
`preprocess.merge`, `preprocess.sync` and `preprocess.pack`, set on the command line:

    KEY=VALUE          batch_size=8
    GROUP.KEY=VALUE    early_stopping.patience=5
    GROUP=FILE         recipe=public       another file of a group, below

`--help` prints the keys with their values, `--cfg job` the composed config. Write `null` for no value, a list as
`'stages=[quality,splits]'`, and a path with spaces in two pairs of quotes: `'videos="my videos (1)"'`. Unknown keys and
values of a wrong type are rejected. *required* keys have no default.

Generated from `configs/` by `python -m docs.tools.reference > docs/configuration.md`; a test keeps it up to date.
"""


def build_page() -> str:
    """Build the page in Markdown."""
    parts = [INTRODUCTION]
    for heading, file, entry_point in SECTIONS:
        parts.append(f"## {heading}\n")
        parts.append("\n".join(_section(CONFIGS / f"{file}.yaml", entry_point)))
    parts.append("## Groups\n\nChoose one file of each group; each of its keys can be overridden: "
                 "`recipe=public recipe.expert.ema_decay=0.999`.\n")  # fmt: skip
    parts += ["\n".join(_group(CONFIGS / name)) for name in GROUPS]
    return "\n".join(parts)


def compose_defaults(entry_point: str) -> DictConfig:
    """Compose the config of an entry point without overrides."""
    with initialize_config_module("configs", version_base="1.3"):
        cfg = compose(entry_point)
    if entry_point == "preprocess":
        cfg.compat = "none"  # otherwise resolved from Hydra's runtime, which needs a running command
    return cfg


def _section(path: Path, entry_point: str) -> Iterator[str]:
    defaults = OmegaConf.create(OmegaConf.to_container(compose_defaults(entry_point), resolve=True))
    types = dict(keys(SCHEMAS[entry_point]))
    lines = read_header(path)
    yield from (["```text", *lines, "```"] if any("python -m" in line for line in lines) else lines)
    section = None
    for entry in read_keys(path):
        if entry.section != section:
            section = entry.section
            yield from (["", f"**{section}**"] if section else [])
            yield from ("", "| key | default | type | |", "|---|---|---|---|")
        if entry.value or entry.comment:
            yield _row(entry, OmegaConf.select(defaults, entry.key), types)
    yield ""


def _row(entry: ConfigKey, default: Any, types: dict[str, Any]) -> str:
    if entry.key not in types:  # a group of keys
        return f"| `{entry.key}` |  |  | {_cell(entry.comment)} |"
    value = OmegaConf.to_container(default) if OmegaConf.is_config(default) else default
    column = "*required*" if entry.value == MISSING else f"`{format_value(value)}`"
    group = re.fullmatch(r"\$\{(recipe|compat)\..*}", entry.value)
    column += f", by `{group[1]}`" if group else ""
    return f"| `{entry.key}` | {column} | {_cell(describe(types[entry.key]))} | {_cell(entry.comment)} |"


def _group(folder: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.yaml"))
    yield f"### {folder.name}\n"
    yield from ("| choice | |", "|---|---|")
    for file in files:
        yield f"| `{folder.name}={file.stem}` | {_cell(' '.join(read_header(file)))} |"
    entries = [{entry.key: entry for entry in read_keys(file) if _is_user_key(entry)} for file in files]
    yield f"\n| key | {' | '.join(f'`{file.stem}`' for file in files)} |"
    yield f"|{'---|' * (1 + len(files))}"
    for key in dict.fromkeys(key for each in entries for key in each):
        yield f"| `{key}` | {' | '.join(_choice(each.get(key)) for each in entries)} |"
    if "default" in (file.stem for file in files):
        yield "\nAn empty cell is the value of `default`."
    yield ""


def _is_user_key(entry: ConfigKey) -> bool:
    """Return whether an entry is neither a class nor the start of a nested group."""
    return entry.key != "_target_" and bool(entry.value)


def _choice(entry: ConfigKey | None) -> str:
    if entry is None:
        return ""
    return f"`{entry.value}`" + (f" {_cell(entry.comment)}" if entry.comment else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(build_page())
