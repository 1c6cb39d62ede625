"""A command of the toolkit run from a notebook, with what it says shown as it comes."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from wav2lip.demo import quoted
from wav2lip.errors import InputError

KEPT = 4096  # characters of the output's end, in which the last line is looked for
AT_ONCE = 65_536  # bytes
PLAIN = re.compile(r"[\w./~-]+", re.ASCII)  # paths that Hydra takes without quotes


def run(module: str, *words: str | Path, fine: Collection[int] = (0,)) -> int:
    """Run python -m MODULE as in a terminal and show its output as it comes.

    fine: exit codes that are no failure. Returns: the exit code.
    Raises: InputError with the last line that was said, or if the cell was stopped; training has saved by then.
    """
    sys.stdout.write(f"$ python -m {module} {shlex.join(map(str, words))}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
    )
    try:
        said = _show(process)
    except KeyboardInterrupt:
        process.terminate()  # a notebook may have interrupted it too; training takes one signal of each kind
        _show(process)
        process.wait()
        raise InputError(f"{module} was stopped; run this cell again to go on") from None
    if process.wait() not in fine:
        raise InputError(last_line(said) or f"{module} ended with exit code {process.returncode}")
    return process.returncode


def setting(key: str, path: Path) -> str:
    """KEY=PATH as Hydra takes it, in quotes only where it needs them."""
    return f"{key}={path}" if PLAIN.fullmatch(str(path)) else f"{key}={quoted(path)}"


def last_line(said: str) -> str:
    """The last line of some output that says something; a line that was written over counts as its last state."""
    lines = [line.strip() for line in re.split(r"[\r\n]", said)]
    return next((line.removeprefix("error: ") for line in reversed(lines) if line), "")


def _show(process: subprocess.Popen[bytes]) -> str:
    """Pass output on until it ends; returns the end of it."""
    assert process.stdout is not None  # a pipe was asked for
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    said = ""
    while piece := os.read(process.stdout.fileno(), AT_ONCE):
        text = decoder.decode(piece)
        sys.stdout.write(text)
        sys.stdout.flush()
        said = (said + text)[-KEPT:]
    return said
