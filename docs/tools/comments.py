"""Parse the comments of a config file: the explanation of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

KEY = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: (?P<rest>.*))?$")
HYDRA_KEYS = ("defaults", "hydra")
CONTINUATION_COLUMNS = 2  # a comment indented this much further than its key continues the key's comment


@dataclass(frozen=True)
class ConfigKey:
    """A key of a config file and its comment."""

    key: str  # with dots: health.patience
    value: str  # as written; empty for a group of keys
    comment: str  # beside the key, on the lines below that are indented further, or directly above it
    section: str  # comment after a blank line that the key stands under, or the group; empty before the first


def read_header(path: Path) -> list[str]:
    """Read the comment at the top of a file, line by line, without Hydra's directive."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ") for line in lines[: _header_length(lines)] if "@package" not in line]


def read_keys(path: Path) -> list[ConfigKey]:
    """Read the keys of a file in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(_parse(lines[_header_length(lines) :]))


def _header_length(lines: list[str]) -> int:
    return next(number for number, line in enumerate(lines) if not line.startswith("#"))


def _parse(lines: list[str]) -> Iterator[ConfigKey]:
    entry: ConfigKey | None = None  # its comment may continue below
    parents: list[tuple[int, str]] = []  # indents and names of the groups around the line
    indent, above, section, after_blank = 0, "", "", False
    for line in [*lines, ""]:
        comment = line.lstrip(" ")
        if comment.startswith("#"):
            words, column = comment.lstrip("# "), len(line) - len(comment)
            if entry is not None and column > indent + CONTINUATION_COLUMNS:
                entry = replace(entry, comment=f"{entry.comment} {words}")
            elif after_blank:
                section, after_blank = words, False
            else:
                above = f"{above} {words}".strip()
            continue
        if entry is not None:
            yield entry
            entry = None
        match = KEY.match(line)
        if match is not None:
            indent = len(match["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            names = [*(name for _, name in parents), match["name"]]
            value, beside = _split(match["rest"] or "")
            if not value:
                parents.append((indent, match["name"]))
                section = f"`{names[0]}`" if after_blank else section
            if names[0] not in HYDRA_KEYS:
                entry = ConfigKey(".".join(names), value, f"{above} {beside}".strip(), section)
        above, after_blank = "", not line


def _split(rest: str) -> tuple[str, str]:
    """Split a value from the comment behind it."""
    value, _, comment = f" {rest}".partition(" #")
    return value.strip(), comment.strip()
