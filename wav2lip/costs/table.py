"""Table of time and cost, as text, CSV or HTML cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from wav2lip.costs.ledger import Entry

JOB_COLUMNS = ("image/video", "audio", "parameters")
COLUMNS = ("time", "cpu", "cost", "machine", "vcpu", "memory", "peak", "cached", "retries")
UNKNOWN = "-"
NOTE = "Time is that of all workers together. Starts, idle machines and storage are not included: a lower bound."


def header(by: str | None) -> list[str]:
    """Return the names of the columns; by: the group, None for jobs."""
    return [*(JOB_COLUMNS if by is None else (by, "jobs")), *COLUMNS]


def cells(entry: Entry, by: str | None) -> list[str]:
    """Return the cells of an entry."""
    first = [entry.face or entry.name, entry.audio or UNKNOWN, entry.parameters or UNKNOWN]
    return [
        *(first if by is None else [entry.name, str(entry.jobs)]),
        f"{entry.wall_s:.1f}",
        f"{entry.cpu_s:.1f}",
        _cost(entry),
        "+".join(entry.machines),
        f"{entry.cpus:g}",
        f"{entry.memory_gib:.1f} GiB" if entry.memory_gib else UNKNOWN,
        f"{entry.peak_rss_mib:.0f} MiB" if entry.peak_rss_mib else UNKNOWN,
        f"{entry.cached}/{entry.records}",
        str(entry.retries),
    ]


def _cost(entry: Entry) -> str:
    """Return the cost, with that of cached records in brackets."""
    if entry.cost is None or entry.saved_cost is None:
        return UNKNOWN
    return f"{entry.cost:.4f}" + (f" ({entry.saved_cost:.4f})" if entry.saved_cost else "")


def format_table(entries: Sequence[Entry], total: Entry, by: str | None, priced: str) -> str:
    """Return the table as text. priced: date and currency of the prices."""
    rows = [header(by), *(cells(entry, by) for entry in entries), cells(total, by)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", f"{priced} {NOTE}".strip()])


def format_csv(entries: Sequence[Entry], by: str | None) -> str:
    """Return the table as CSV, without the total."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header(by))
    writer.writerows(cells(entry, by) for entry in entries)
    return file.getvalue()
