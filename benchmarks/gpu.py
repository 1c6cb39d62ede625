"""Measure everything that only a GPU can show, the most important first, within a number of minutes.

    python -m benchmarks.gpu --minutes 8
    python -m benchmarks.gpu --minutes 8 --device cpu --thin    # the same program small, as in CI

The data are synthetic. OUT/gpu.json and OUT/gpu.md are written after each measurement; a second run continues where the
first ended. Each group runs in a process of its own, so that one that fails or takes too long costs no other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wav2lip.cli import run as run_entry_point

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("agreement", "training", "resume", "inference", "compiled", "memory", "restoration", "torchrun")
LAST_LINES = 3  # of the output of a failed group

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One row of the table."""

    name: str
    run: Callable[[], Row]


@dataclass(frozen=True)
class Table:
    """The rows measured so far, in OUT/gpu.json and OUT/gpu.md."""

    folder: Path

    def rows(self) -> dict[str, Row]:
        """Read the rows by name."""
        file = self.folder / "gpu.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def add(self, name: str, row: Row) -> None:
        """Add or replace a row and write both files."""
        self._write({**self.rows(), name: row})

    def remove(self, name: str) -> None:
        """Remove a row, if there is one, and write both files."""
        self._write({other: row for other, row in self.rows().items() if other != name})

    def _write(self, rows: Mapping[str, Row]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("gpu.json", json.dumps(rows, indent=1)), ("gpu.md", format_table(rows))):
            partial = self.folder / f".{file}"
            partial.write_text(text + "\n", encoding="utf-8")
            os.replace(partial, self.folder / file)


def format_table(rows: Mapping[str, Row]) -> str:
    """Format rows as a Markdown table: the measurement, then its values."""
    lines = ["| measurement | result |", "|---|---|"]
    for name, row in rows.items():
        values = "; ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                           for key, value in row.items())  # fmt: skip
        lines.append(f"| {name} | {values} |".replace("\n", " "))
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all measurements (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of the tables and the data")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, mps or cpu (default: cuda)")
    parser.add_argument("--thin", action="store_true", help="thin networks and few steps, to test this program")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)  # of a child process
    return parser


def main() -> None:
    """Run the entry point."""
    args = build_parser().parse_args()
    run_entry_point(lambda: run_group(args) if args.group else run_groups(args))


def run_groups(args: argparse.Namespace) -> int:
    """Run each group in a child process until the time is up; returns 1 if one failed."""
    deadline, table, failed = time.monotonic() + 60 * args.minutes, Table(args.out), False
    for group in GROUPS:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            table.add(f"group {group}", {"skipped": f"after {args.minutes:g} minutes; run again to continue"})
            continue
        problem = run_child(args, group, remaining)
        failed = failed or problem is not None
        if problem is None:
            table.remove(f"group {group}")  # of an earlier run
        else:
            table.add(f"group {group}", {"failed": problem})
    sys.stdout.write((args.out / "gpu.md").read_text(encoding="utf-8"))
    return int(failed)


def run_child(args: argparse.Namespace, group: str, seconds: float) -> str | None:
    """Run a group; return the end of its output if it fails or takes longer."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--group", group, "--out", str(args.out.resolve()),
               "--device", args.device, *(["--thin"] if args.thin else [])]  # fmt: skip
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return "ended by the time limit"
    return " ".join(done.stderr.splitlines()[-LAST_LINES:]) if done.returncode else None


def run_group(args: argparse.Namespace) -> int:
    """Run the missing measurements of a group."""
    from benchmarks import gpu_measurements

    table = Table(args.out)
    size = gpu_measurements.Size.thin() if args.thin else gpu_measurements.Size()
    setting = gpu_measurements.Setting(torch.device(args.device), args.out, size)
    measurements: Iterator[Measurement] = (
        Measurement(name, run) for name, run in gpu_measurements.list_measurements(args.group, setting)
    )
    for measurement in measurements:
        if measurement.name not in table.rows():
            start = time.perf_counter()
            row = measurement.run()
            table.add(measurement.name, row | {"seconds": round(time.perf_counter() - start, 1)})
    return 0


if __name__ == "__main__":
    main()
