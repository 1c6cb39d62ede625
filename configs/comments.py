"""What the comments of a config file say of its keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

KEY = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: (?P<rest>.*))?$")
NOT_KEYS = ("defaults", "hydra")  # what is Hydra's own
FURTHER = 2  # columns by which a comment stands right of a key that it goes on about


@dataclass(frozen=True)
class Explained:
    """A key of a config file, and what is said of it there."""

    key: str  # with dots: guard.patience
    value: str  # as it is written; empty where keys of its own follow
    comment: str  # beside it, on the lines below that are indented further, or right above it
    section: str  # the comment with a blank line above that it stands under, or the group; empty before the first


def head(path: Path) -> list[str]:
    """The comment that the file begins with, line by line, without what Hydra reads in it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ") for line in lines[: _head_lines(lines)] if "@package" not in line]


def explained(path: Path) -> list[Explained]:
    """The keys of a file in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(_entries(lines[_head_lines(lines) :]))


def _head_lines(lines: list[str]) -> int:
    return next(number for number, line in enumerate(lines) if not line.startswith("#"))


def _entries(lines: list[str]) -> Iterator[Explained]:
    entry: Explained | None = None  # may go on below
    parents: list[tuple[int, str]] = []  # indents and names of the groups that the line is in
    indent, above, section, after_blank = 0, "", "", False
    for line in [*lines, ""]:
        comment = line.lstrip(" ")
        if comment.startswith("#"):
            words, column = comment.lstrip("# "), len(line) - len(comment)
            if entry is not None and column > indent + FURTHER:
                entry = replace(entry, comment=f"{entry.comment} {words}")
            elif after_blank:
                section, after_blank = words, False
            else:
                above = f"{above} {words}".strip()
            continue
        if entry is not None:
            yield entry
            entry = None
        found = KEY.match(line)
        if found is not None:
            indent = len(found["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            names = [*(name for _, name in parents), found["name"]]
            value, beside = _split(found["rest"] or "")
            if not value:
                parents.append((indent, found["name"]))
                section = f"`{names[0]}`" if after_blank else section
            if names[0] not in NOT_KEYS:
                entry = Explained(".".join(names), value, f"{above} {beside}".strip(), section)
        above, after_blank = "", not line


def _split(rest: str) -> tuple[str, str]:
    """A value and the comment behind it."""
    value, _, comment = f" {rest}".partition(" #")
    return value.strip(), comment.strip()
