"""Every key of every config, as a page of the docs: python -m configs.reference > docs/configuration.md

Names, order and explanations are read from the YAML files, defaults and kinds from the configs as Hydra composes them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from configs.comments import Explained, explained, head
from configs.entry import MISSING, kinds, text

FOLDER = Path(__file__).parent
# A section of the page: its heading, the file whose keys it has, and the entry point's config that composes it.
SECTIONS = (
    ("All three trainers", "training", "syncnet"),
    ("Both trainers of the generator", "generator", "wav2lip"),
    ("python -m train.syncnet", "syncnet", "syncnet"),
    ("python -m train.wav2lip", "wav2lip", "wav2lip"),
    ("python -m train.wav2lip_gan", "wav2lip_gan", "wav2lip_gan"),
    ("python -m preprocess", "preprocess", "preprocess"),
    ("python -m preprocess.sync", "sync", "sync"),
    ("python -m preprocess.pack", "pack", "pack"),
)
GROUPS = ("model", "disc", "recipe", "compat", "debug")
INTRODUCTION = """# Configuration

What `python -m train.syncnet`, `train.wav2lip`, `train.wav2lip_gan`, `preprocess`, `preprocess.sync` and
`preprocess.pack` can be told, each on its command line:

    KEY=VALUE          batch_size=8
    GROUP.KEY=VALUE    stop.patience=5
    GROUP=FILE         recipe=public       another file of a group, below

`--help` prints the keys with their values, `--cfg job` the config as the run would see it. `null` is nothing, a list
is `'stages=[quality,splits]'`, a path with blanks needs two pairs of quotes: `'videos="my videos (1)"'`. A value of
another kind, or a key that does not exist, is refused in a sentence. *required* has no default.

This page is made from `configs/` by `python -m configs.reference > docs/configuration.md`; a test holds it to them.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION]
    for heading, file, root in SECTIONS:
        parts.append(f"## {heading}\n")
        parts.append("\n".join(_section(FOLDER / f"{file}.yaml", composed(root))))
    parts.append("## Groups\n\nA group is chosen whole, and each of its keys can be changed: "
                 "`recipe=public recipe.expert.ema=0.999`.\n")  # fmt: skip
    parts += ["\n".join(_group(FOLDER / name)) for name in GROUPS]
    return "\n".join(parts)


def composed(root: str) -> DictConfig:
    """The config of an entry point, as it is without anything on its command line."""
    with initialize_config_module("configs", version_base="1.3"):
        cfg = compose(root)
    if root == "preprocess":
        cfg.compat = "none"  # else from what Hydra knows of a running command
    return cfg


def _section(path: Path, cfg: DictConfig) -> Iterator[str]:
    defaults = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    lines = head(path)
    yield from (["```text", *lines, "```"] if any("python -m" in line for line in lines) else lines)
    title = None
    for entry in explained(path):
        if entry.section != title:
            title = entry.section
            yield from (["", f"**{title}**"] if title else [])
            yield from ("", "| key | default | kind | |", "|---|---|---|---|")
        if entry.value or entry.comment:
            yield _row(entry, OmegaConf.select(defaults, entry.key))
    yield ""


def _row(entry: Explained, default: Any) -> str:
    value = OmegaConf.to_container(default) if OmegaConf.is_config(default) else default
    group = isinstance(value, dict)
    shown = "" if group else "*required*" if entry.value == MISSING else _code(value)
    recipe = re.fullmatch(r"\$\{(recipe|compat)\..*}", entry.value)
    shown += f", by `{recipe[1]}`" if recipe else ""
    kind = "" if group else " or ".join(kinds(entry.key, MISSING if entry.value == MISSING else value))
    return f"| `{entry.key}` | {shown} | {kind} | {_cell(entry.comment)} |"


def _group(folder: Path) -> Iterator[str]:
    files = sorted(folder.glob("*.yaml"))
    yield f"### {folder.name}\n"
    yield from ("| choice | |", "|---|---|")
    for file in files:
        yield f"| `{folder.name}={file.stem}` | {_cell(' '.join(head(file)))} |"
    keys = dict.fromkeys(entry.key for file in files for entry in explained(file) if not _made(entry))
    yield f"\n| key | {' | '.join(f'`{file.stem}`' for file in files)} |"
    yield f"|{'---|' * (1 + len(files))}"
    values = [{entry.key: entry for entry in explained(file)} for file in files]
    for key in keys:
        yield f"| `{key}` | {' | '.join(_choice(entries.get(key)) for entries in values)} |"
    yield ""


def _made(entry: Explained) -> bool:
    """Whether it names a class, or the group that the next keys are in."""
    return entry.key == "_target_" or not entry.value


def _choice(entry: Explained | None) -> str:
    if entry is None:
        return ""
    return f"`{entry.value}`" + (f" {_cell(entry.comment)}" if entry.comment else "")


def _code(value: Any) -> str:
    return f"`{text(value)}`"


def _cell(comment: str) -> str:
    return comment.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
