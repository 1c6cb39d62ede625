"""Sums of time and cost over records: per job, and per user, engine or day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wav2lip.costs.prices import Prices
from wav2lip.errors import InputError
from wav2lip.execution.manifest import Record, parse_record

GROUPS = ("user", "engine", "day")


@dataclass
class Entry:
    """Sums over the records of one job, or of one group of jobs."""

    name: str
    face: str = ""
    audio: str = ""
    parameters: str = ""
    user: str = ""
    engine: str = ""
    day: str = ""
    wall_s: float = 0.0  # sum over all workers, lost attempts included
    cpu_s: float = 0.0
    peak_rss_mib: float = 0.0
    cost: float | None = 0.0  # None: a class of machines has no price
    saved_cost: float | None = 0.0  # original cost of cached records
    machines: list[str] = field(default_factory=list)
    cpus: float = 0.0  # largest grant
    memory_gib: float = 0.0
    records: int = 0
    cached: int = 0  # records taken from an earlier run, and results whose faces an earlier run had located
    retries: int = 0
    jobs: int = 1

    def add(self, record: Record, prices: Prices) -> None:
        """Add the usage of a record."""
        usage = record.usage
        cost = prices.cost(usage)
        self.machines = sorted({*self.machines, usage["host_class"]})
        self.cpus, self.memory_gib = max(self.cpus, usage["cpus"]), max(self.memory_gib, usage["memory_gib"])
        self.records += 1
        self.cached += record.cached or bool(record.data.get("has_cached_faces"))
        if record.cached:
            self.saved_cost = _add(self.saved_cost, cost)
            return
        self.cost = _add(self.cost, cost)
        self.wall_s += usage["wall_s"] + usage["lost_wall_s"]
        self.cpu_s += usage["cpu_s"] or 0.0
        self.peak_rss_mib = max(self.peak_rss_mib, usage["peak_rss_mib"] or 0.0)
        self.retries += usage["attempt"] - 1

    def merge(self, other: Entry) -> None:
        """Add another entry to a group."""
        self.cost, self.saved_cost = _add(self.cost, other.cost), _add(self.saved_cost, other.saved_cost)
        self.wall_s, self.cpu_s = self.wall_s + other.wall_s, self.cpu_s + other.cpu_s
        self.peak_rss_mib = max(self.peak_rss_mib, other.peak_rss_mib)
        self.machines = sorted({*self.machines, *other.machines})
        self.cpus, self.memory_gib = max(self.cpus, other.cpus), max(self.memory_gib, other.memory_gib)
        self.records, self.cached = self.records + other.records, self.cached + other.cached
        self.retries, self.jobs = self.retries + other.retries, self.jobs + other.jobs


def _add(first: float | None, second: float | None) -> float | None:
    """Add two costs; the sum with an unknown one is unknown."""
    return None if first is None or second is None else first + second


def read_usage(paths: Sequence[Path]) -> list[Record]:
    """Return every record with a usage, also of attempts that later ones replaced.

    paths: files STAGE.jsonl, or folders with such files at any depth.
    Raises: InputError if there is no record, or a line is corrupt.
    """
    records: list[Record] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give the records of a run, such as results/records")
        files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as lines:
                parsed = [parse_record(line, file, n) for n, line in enumerate(lines, 1) if line.endswith(b"\n")]
            records += [record for record in parsed if record.usage]
    if not records:
        raise InputError(f"{', '.join(map(str, paths))}: no record with a time; give the records of a run")
    return records


def job_name(key: str) -> str:
    """Return the name of the job of a record, without the number of a segment. key: JOB or JOB#N."""
    return re.sub(r"#\d+$", "", key)


def sum_jobs(records: Iterable[Record], prices: Prices) -> list[Entry]:
    """Return an entry for each job, in the order of their first record.

    Stages of a job count together, and so do the segments JOB#N.
    """
    entries: dict[str, Entry] = {}
    seen: set[tuple[str, str]] = set()
    for record in records:
        name = job_name(record.key)
        entry = entries.setdefault(name, Entry(name))
        if (record.stage, record.key) in seen:
            entry.retries += 1
        seen.add((record.stage, record.key))
        entry.add(record, prices)
        for field_name in ("face", "audio", "parameters", "user", "engine"):
            setattr(entry, field_name, record.data.get(field_name) or getattr(entry, field_name))
        entry.day = record.usage.get("day") or entry.day
    return list(entries.values())


def sum_groups(entries: Iterable[Entry], by: str) -> list[Entry]:
    """Return an entry for each user, engine or day, sorted by name."""
    groups: dict[str, Entry] = {}
    for entry in entries:
        name = getattr(entry, by) or "-"
        groups.setdefault(name, Entry(name, jobs=0)).merge(entry)
    return [groups[name] for name in sorted(groups)]


def total(entries: Sequence[Entry]) -> Entry:
    """Return the sum of all entries."""
    result = Entry("total", jobs=0)
    for entry in entries:
        result.merge(entry)
    return result
