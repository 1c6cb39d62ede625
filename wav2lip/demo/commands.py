"""Commands of the toolkit as subprocesses, and their Hydra overrides."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from wav2lip.devices import cpu_count

# Threads that sleep while they wait leave the cores to other work; measured in docs/demo.md. A user's value wins.
WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE"}
UNQUOTED_PATH = re.compile(r"[\w./~-]+", re.ASCII)  # paths that Hydra's grammar accepts without quotes


def run_command(module: str, *arguments: str | Path) -> None:
    """Run `python -m MODULE`; exit with its exit code if it fails."""
    environment = WAIT_POLICY | os.environ
    process = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], env=environment, check=False)
    if process.returncode:
        raise SystemExit(process.returncode)


def run_together(commands: Sequence[Sequence[str | Path]]) -> None:
    """Run `python -m MODULE ARGUMENTS...` for each command at once, with an equal share of the cores.

    Exits with the exit code of the first that fails, after all have ended.
    """
    threads = max(1, cpu_count() // len(commands))
    environment = WAIT_POLICY | os.environ | {"OMP_NUM_THREADS": str(threads)}
    processes = [subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment) for command in commands]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(codes):
        raise SystemExit(next(filter(None, codes)))


def path_override(key: str, path: Path) -> str:
    """Format KEY=PATH for Hydra, quoted only where its grammar requires it."""
    text = str(path)
    if not UNQUOTED_PATH.fullmatch(text):
        text = "'" + text.replace("\\", "/").replace("'", "\\'") + "'"
    return f"{key}={text}"
