"""The results in words and tables: report.md, and what report.html shares with it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from pathlib import Path

from wav2lip.evaluation.metrics import BY_NAME, HIGHER, LOWER, ONE, ZERO, Metric
from wav2lip.evaluation.records import write_whole
from wav2lip.evaluation.results import Results
from wav2lip.evaluation.takes import REAL
from wav2lip.evaluation.totals import LEVEL, Difference, Total

ARROWS = {LOWER: "↓", HIGHER: "↑", ZERO: "→ 0", ONE: "→ 1"}
PUBLISHED = (
    "LSE-D and LSE-C compare only with numbers of the same evaluator on the same clips. For orientation: the paper "
    "states 6.39 and 7.78 for LRS2; users of the released code measured 7.15 and 6.77, and 6.26 and 8.25 for the real "
    "videos."
)
SHOWN = 20  # clips told by name where some could not be measured


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def tables(results: Results) -> list[Table]:
    """Everything that is told, in order; tables without a row are left out."""
    found = [
        scores(results),
        differences(results),
        not_computed(results),
        failures(results),
        evaluators(results),
        meanings(results),
    ]
    return [table for table in found if table.rows]


def scores(results: Results) -> Table:
    """A row for each metric, a column for each system."""
    systems = list(results.records)
    head = ["metric", "better", *(f"{name} ({_measured(results, name)})" for name in systems)]
    rows = [
        [_named(metric), ARROWS[metric.better], *(_cell(results.totals[name].get(metric.name)) for name in systems)]
        for metric in results.metrics
    ]
    note = f"Mean over clips [{LEVEL:.0%} bootstrap interval, seed {results.seed}]; in brackets above: clips measured. "
    if REAL in systems:
        note += "The real videos are the ceiling: measured in the same way, with their own sound. "
    judged = "; ".join(f"{name}: {what}" for name, what in results.evaluators.items())
    lse = f" {PUBLISHED}" if any(metric.name == "lse_d" for metric in results.metrics) else ""
    return Table("Scores", f"{note}Evaluated by {judged}.{lse}", head, rows)


def differences(results: Results) -> Table:
    """Every two systems, metric by metric."""
    rows = [
        [f"{d.system} - {d.other}", d.metric, f"{number(d.mean)} [{number(d.low)}, {number(d.high)}]", _p(d),
         str(d.clips), d.better or "not told apart"]
        for d in results.differences
    ]  # fmt: skip
    note = (
        "Clip by clip, on the clips that both have. Of metrics with a best value (→) the distances from it are "
        f"subtracted. Better: the {LEVEL:.0%} interval of the paired bootstrap leaves out 0, of six clips or more; p: "
        "Wilcoxon's signed-rank test, two-sided. Neither is corrected for the number of metrics."
    )
    return Table("Differences", note, ["systems", "metric", "difference", "p", "clips", "better"], rows)


def not_computed(results: Results) -> Table:
    """Metrics that no system has."""
    rows = [[metric, why] for metric, why in results.missing.items()]
    return Table("Not computed", "", ["metric", "why, and what to do"], rows)


def failures(results: Results) -> Table:
    """Clips of which nothing is known."""
    rows = [[record.system, record.clip, record.failed or ""] for record in results.failed]
    more = [["...", "", f"and {len(rows) - SHOWN} more, see results.json"]] if len(rows) > SHOWN else []
    return Table("Left out", "", ["system", "clip", "why"], rows[:SHOWN] + more)


def evaluators(results: Results) -> Table:
    """With what was judged."""
    return Table("Evaluators", "", ["part", "version"], [[name, what] for name, what in results.evaluators.items()])


def meanings(results: Results) -> Table:
    """What each metric is."""
    rows = [[m.name, m.unit or "-", m.range, m.formula, m.source, m.needs] for m in BY_NAME.values()]
    return Table("Metrics", "", ["metric", "unit", "range", "formula", "source", "needs"], rows)


def write_markdown(results: Results) -> Path:
    """report.md."""
    lines = [f"# {results.title}", ""]
    for table in tables(results):
        lines += [f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines += [_row(table.head), _row(["---"] * len(table.head)), *map(_row, table.rows), ""]
    path = results.folder / "report.md"
    write_whole(path, lambda partial: partial.write_text("\n".join(lines), encoding="utf-8"))
    return path


def number(value: float) -> str:
    """Four significant digits."""
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _named(metric: Metric) -> str:
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name


def _measured(results: Results, system: str) -> int:
    return sum(record.failed is None for record in results.records[system])


def _cell(total: Total | None) -> str:
    if total is None:
        return "not computed"
    if total.low is None or total.high is None:
        return number(total.mean)
    return f"{number(total.mean)} [{number(total.low)}, {number(total.high)}]"


def _p(difference: Difference) -> str:
    return "too few clips" if difference.p is None else f"{difference.p:.2g}"
