"""Every flag of the commands with flags, as a page of the docs: python -m docs.tools.commands > docs/commands.md"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import preprocess.doctor
import wav2lip.demo
import wav2lip.evaluate
import wav2lip.export
import wav2lip.infer
import wav2lip.serve.keys
import wav2lip.serve.settings

PARSERS = (
    wav2lip.infer.build_parser,
    wav2lip.export.build_parser,
    wav2lip.evaluate.build_parser,
    preprocess.doctor.build_parser,
    wav2lip.demo.build_parser,
    wav2lip.serve.settings.build_parser,
    wav2lip.serve.keys.build_parser,
)
INTRODUCTION = """# Commands

The commands that take flags. `--help` says the same. Those that take `KEY=VALUE` are on the page
[Configuration](configuration.md). A wrong input is one sentence and exit code 2; Ctrl-C is 130.

This page is made by `python -m docs.tools.commands > docs/commands.md`; a test holds it to the programs.
"""


def page() -> str:
    """The page in Markdown."""
    return "\n".join([INTRODUCTION, *(line for build in PARSERS for line in _section(build()))]) + "\n"


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {parser.prog}\n"
    yield f"{_cell(parser.description or '')}\n"
    modes = [mode for action in parser._actions if isinstance(action, argparse._SubParsersAction)
             for mode in action.choices.values()]  # fmt: skip
    if not modes:
        yield from _table(parser, lambda row: True)
        return
    shared = set.intersection(*({_row(action) for action in mode._actions} for mode in modes))
    for mode in modes:
        yield f"### {mode.prog}\n\n{mode.description}\n"
        yield from _table(mode, lambda row: row not in shared)
    yield "### in every mode\n"
    yield from _table(modes[0], lambda row: row in shared)


def _table(parser: argparse.ArgumentParser, shown: Callable[[str], bool]) -> Iterator[str]:
    rows = [row for action in parser._actions if action.dest != "help" and shown(row := _row(action))]
    if rows:
        yield from ("| flag | default | |", "|---|---|---|", *rows, "")


def _row(action: argparse.Action) -> str:
    name = " ".join([*action.option_strings[-1:], _values(action)]).strip()
    meaning = (action.help or "").replace("(default: %(default)s)", "").replace("%(default)s", str(action.default))
    return f"| `{name}` | {_default(action)} | {_cell(meaning)} |"


def _values(action: argparse.Action) -> str:
    """What follows the flag, as one types it."""
    if action.nargs == 0:
        return ""
    word = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    if isinstance(word, tuple):
        return " ".join(word)
    return {"?": f"[{word}]", "+": f"{word} ...", None: word}[action.nargs]  # type: ignore[index]


def _default(action: argparse.Action) -> str:
    if action.required:
        return "*required*"
    if action.default in (None, []) or action.nargs == 0:
        return ""
    values = action.default if isinstance(action.default, list) else [action.default]
    return f"`{' '.join(map(str, values))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").strip()


if __name__ == "__main__":
    sys.stdout.write(page())
