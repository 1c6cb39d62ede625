"""Table of a batch, as text and as an HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from wav2lip.execution.manifest import OK, Record
from wav2lip.reporting.durations import format_duration
from wav2lip.reporting.html import page, table

COLUMNS = ("outcome", "job", "time", "cpu", "memory", "faces", "frames", "reason")
NUMERIC = (2, 3, 4, 6)
MAX_NAME_LENGTH = 48  # characters
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.numeric { text-align: right; font-variant-numeric: tabular-nums; }
"""


def format_report(records: Sequence[Record]) -> str:
    """Return a row for each job, and the summary."""
    rows = [[name.upper() for name in COLUMNS], *(_cells(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip() for row in rows
    ]
    return "\n".join([*lines, "", summarize(records)])


def format_html(records: Sequence[Record], title: str) -> str:
    """Return a page without references to other files."""
    rows = [[escape(cell) for cell in _cells(record)] for record in records]
    content = table([name.capitalize() for name in COLUMNS], rows, numeric=NUMERIC, label="Jobs")
    return page(title, f"<h1>{escape(title)}</h1><p>{escape(summarize(records))}</p>{content}", STYLE)


def summarize(records: Sequence[Record]) -> str:
    """Return the number of jobs by outcome, and their time."""
    counts = Counter(_outcome(record) for record in records)
    seconds = sum(record.usage.get("wall_s", 0.0) for record in records if not record.cached)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"{len(records)} jobs: {outcomes or 'none'}. {format_duration(seconds)} of work in this run."


def failed_share(records: Sequence[Record]) -> float:
    """Return the share of the jobs without a result."""
    return sum(record.status != OK for record in records) / max(1, len(records))


def _outcome(record: Record) -> str:
    if record.status == OK:
        return "cached" if record.cached else "done"
    return "rejected" if record.status == "rejected" else "failed"


def _cells(record: Record) -> list[str]:
    usage, data = record.usage, record.data
    name = record.key if len(record.key) <= MAX_NAME_LENGTH else f"...{record.key[3 - MAX_NAME_LENGTH :]}"
    faces = {True: "cached", False: "located"}.get(data.get("has_cached_faces", ""), "")
    return [
        _outcome(record),
        name,
        _number(usage.get("wall_s"), ".1f", " s"),
        _number(usage.get("cpu_s"), ".1f", " s"),
        _number(usage.get("peak_rss_mib"), ".0f", " MiB"),
        faces,
        str(data.get("frames", "")),
        record.reason,
    ]


def _number(value: float | None, form: str, unit: str) -> str:
    return "" if value is None else f"{value:{form}}{unit}"
