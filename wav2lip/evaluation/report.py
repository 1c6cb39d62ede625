"""Reports of a run: report.md, and report.html with curves and faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import isinf
from pathlib import Path

from wav2lip.evaluation.aggregate import CONFIDENCE_LEVEL, Comparison, Results, Summary, mean_curve
from wav2lip.evaluation.cache import ResultCache, write_atomically
from wav2lip.evaluation.metrics import BY_NAME, HIGHER, LOWER, ONE, ZERO, Metric
from wav2lip.evaluation.samples import REAL
from wav2lip.reporting import html
from wav2lip.reporting.svg import PlotArea, format_shift, text
from wav2lip.sync.offset_curve import SHIFTS, OffsetCurve

ARROWS = {LOWER: "↓", HIGHER: "↑", ZERO: "→ 0", ONE: "→ 1"}
PUBLISHED = (
    "LSE-D and LSE-C compare only with numbers of the same evaluator on the same clips. For orientation: the paper "
    "states 6.39 and 7.78 for LRS2; users of the released code measured 7.15 and 6.77, and 6.26 and 8.25 for the real "
    "videos."
)
ONE_EXPERT = (
    "the generator pleases the first expert, not a second one: it was probably trained against the first, with a sync "
    "loss too early or too large; trust the second, and look at the faces"
)
MAX_SHARE_GAP = 0.25  # of the real videos' confidence, by which two experts may disagree
MIN_CONFIDENCE = 0.01  # of an expert on real videos
MAX_ERRORS = 20  # listed by name
MAX_CLIPS_WITH_FACES = 12
PLOT_WIDTH, PLOT_HEIGHT, PLOT_MARGIN, LEGEND_WIDTH = 900, 300, 48, 260  # pixels
EXPERTS = {
    "lse": "SyncNet v2: mean distance",
    "expert": "expert: mean distance, 1 - cosine",
    "second": "second expert: mean distance, 1 - cosine",
}
NUM_COLORS = 8
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}
svg{max-width:100%;height:auto} td,th{border:1px solid #ccc;padding:.25em .6em;text-align:left;vertical-align:top}
th{background:#f2f2f2} .strip td{padding:2px} img{display:block} p{max-width:80em}
.plot text{font-size:12px} .zero{stroke:#bbb} .plot path{fill:none;stroke:currentColor;stroke-width:1.5}
.plot g text,.plot circle{fill:currentColor}
.c0{color:#222} .c1{color:#c0392b} .c2{color:#2471a3} .c3{color:#1e8449} .c4{color:#b9770e} .c5{color:#7d3c98}
.c6{color:#148f77} .c7{color:#5d6d7e}
"""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def write_markdown(results: Results) -> Path:
    """Write report.md."""
    lines = [f"# {results.title}", ""]
    for table in tables(results):
        lines += [f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines += [_row(table.head), _row(["---"] * len(table.head)), *map(_row, table.rows), ""]
    return _write(results, "report.md", "\n".join(lines))


def write_html(results: Results) -> Path:
    """Write report.html, a self-contained file."""
    first, *others = [_html_table(table) for table in tables(results)]
    parts = [f"<h1>{escape(results.title)}</h1>", first, *_curves(results), *_faces(results), *others]
    return _write(results, "report.html", html.page(results.title, "\n".join(parts), STYLE))


def _write(results: Results, name: str, content: str) -> Path:
    path = results.folder / name
    write_atomically(path, lambda partial: partial.write_text(content, encoding="utf-8"))
    return path


def tables(results: Results) -> list[Table]:
    """Return the tables that have rows, in order."""
    candidates = [
        score_table(results),
        expert_gap_table(results),
        comparison_table(results),
        missing_table(results),
        error_table(results),
        evaluator_table(results),
        metric_table(),
    ]
    return [table for table in candidates if table.rows]


def score_table(results: Results) -> Table:
    """Return a row for each metric and a column for each system."""
    systems = list(results.clips)
    head = ["metric", "better", *(f"{name} ({_count_measured(results, name)})" for name in systems)]
    rows = [
        [_name(metric), ARROWS[metric.better], *(_cell(results.summary[name].get(metric.name)) for name in systems)]
        for metric in results.metrics
    ]
    level = f"{CONFIDENCE_LEVEL:.0%}"
    note = f"Mean over clips [{level} bootstrap interval, seed {results.seed}]; in parentheses: number of clips. "
    if REAL in systems:
        note += "The real videos, measured in the same way with their own audio, are the upper bound. "
    evaluators = "; ".join(f"{name}: {value}" for name, value in results.evaluators.items())
    lse = f" {PUBLISHED}" if any(metric.name == "lse_d" for metric in results.metrics) else ""
    return Table("Scores", f"{note}Evaluated by {evaluators}.{lse}", head, rows)


def expert_gap_table(results: Results) -> Table:
    """Return the systems that one expert rates better than the other, relative to the real videos."""
    real = results.summary.get(REAL, {})
    rows = []
    for system, summary in results.summary.items():
        names = ("expert_confidence", "second_confidence")
        if system == REAL or not all(name in summary and name in real for name in names):
            continue
        shares = [summary[name].mean / max(real[name].mean, MIN_CONFIDENCE) for name in names]
        if shares[0] - shares[1] > MAX_SHARE_GAP:
            rows.append([system, f"{shares[0]:.0%}", f"{shares[1]:.0%}", ONE_EXPERT])
    head = ["system", "confidence of --expert", "of --second_expert", "diagnosis"]
    return Table("Experts disagree", "Confidence as a share of that of the real videos.", head, rows)


def comparison_table(results: Results) -> Table:
    """Return a row for every two systems and each metric."""
    rows = [
        [f"{c.system} - {c.other}", c.metric, f"{format_number(c.mean)} [{format_number(c.low)}, "
         f"{format_number(c.high)}]", _p_value(c), str(c.clips), c.better or "not significant"]
        for c in results.comparisons
    ]  # fmt: skip
    note = (
        "Clip by clip, on the clips that both have. For metrics with a best value (→) the distances from it are "
        f"subtracted. Better: the {CONFIDENCE_LEVEL:.0%} interval of the paired bootstrap excludes 0, with six clips "
        "or more; p: Wilcoxon's signed-rank test, two-sided. Neither is corrected for the number of metrics."
    )
    return Table("Differences", note, ["systems", "metric", "difference", "p", "clips", "better"], rows)


def missing_table(results: Results) -> Table:
    """Return the metrics that no system has."""
    rows = [[metric, reason] for metric, reason in results.missing.items()]
    return Table("Not computed", "", ["metric", "reason and remedy"], rows)


def error_table(results: Results) -> Table:
    """Return the clips that could not be measured."""
    rows = [[result.system, result.clip, result.error or ""] for result in results.errors]
    more = [["...", "", f"and {len(rows) - MAX_ERRORS} more, see results.json"]] if len(rows) > MAX_ERRORS else []
    return Table("Skipped", "", ["system", "clip", "reason"], rows[:MAX_ERRORS] + more)


def evaluator_table(results: Results) -> Table:
    """Return the versions of everything that computes scores."""
    return Table("Evaluators", "", ["part", "version"], [[name, value] for name, value in results.evaluators.items()])


def metric_table() -> Table:
    """Return the definition of each metric."""
    rows = [[m.name, m.unit or "-", m.range, m.formula, m.source, m.needs] for m in BY_NAME.values()]
    return Table("Metrics", "", ["metric", "unit", "range", "formula", "source", "needs"], rows)


def format_number(value: float) -> str:
    """Format with four significant digits."""
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _name(metric: Metric) -> str:
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name


def _count_measured(results: Results, system: str) -> int:
    return sum(result.error is None for result in results.clips[system])


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "not computed"
    if summary.low is None or summary.high is None:
        return format_number(summary.mean)
    return f"{format_number(summary.mean)} [{format_number(summary.low)}, {format_number(summary.high)}]"


def _p_value(comparison: Comparison) -> str:
    return "too few clips" if comparison.p is None else f"{comparison.p:.2g}"


def _html_table(table: Table) -> str:
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    rows = ([escape(cell) for cell in row] for row in table.rows)
    return html.section(table.title, note + html.table(table.head, rows))


def _curves(results: Results) -> list[str]:
    parts = []
    for expert, title in EXPERTS.items():
        means = {name: mean_curve(clips, expert) for name, clips in results.clips.items()}
        curves = {name: curve for name, curve in means.items() if curve is not None}
        if curves:
            parts.append(
                html.section("Distance against shift", f"<p>{title}; mean over clips</p>{draw_curves(curves)}")
            )
    return parts


def draw_curves(curves: Mapping[str, OffsetCurve]) -> str:
    """Return the curves over SHIFTS as SVG, one color for each name, with their minima marked."""
    low = min(curve.min_distance for curve in curves.values())
    high = max(float(curve.distance.max()) for curve in curves.values())
    area = PlotArea(
        PLOT_WIDTH, PLOT_HEIGHT, PLOT_MARGIN, LEGEND_WIDTH + PLOT_MARGIN, PLOT_MARGIN, PLOT_MARGIN,
        (SHIFTS[0], SHIFTS[-1]), (low, high),
    )  # fmt: skip
    axes = area.vertical(0, "zero") + "".join(
        text(area.x(shift), area.base + 18, format_shift(shift), "middle") for shift in SHIFTS[::5]
    )
    axes += "".join(
        text(area.left - 6, area.y(value) + 4, f"{value:.3g}", "end") for value in (low, (low + high) / 2, high)
    )
    axes += text(area.x(0), area.height - 8, "frames by which the audio lags the video", "middle")
    groups = []
    for n, (name, curve) in enumerate(curves.items()):
        line = area.path(zip(SHIFTS, curve.distance.tolist(), strict=True))
        minimum = area.dot(curve.offset, curve.min_distance, 4)
        legend = text(area.width - LEGEND_WIDTH + 8, area.top + 18 * n, f"{name}: {format_shift(curve.offset)}")
        groups.append(f'<g class="c{n % NUM_COLORS}">{line}{minimum}{legend}</g>')
    return area.svg(axes + "".join(groups), f"mean distance against shift of {', '.join(curves)}")


def _faces(results: Results) -> list[str]:
    cache = ResultCache(results.folder)
    names = dict.fromkeys(r.clip for clips in results.clips.values() for r in clips if r.error is None)
    rows = []
    for clip in list(names)[:MAX_CLIPS_WITH_FACES]:
        for system in results.clips:
            path = cache.path(system, clip, ".jpg")
            if path.is_file():
                image = html.jpeg_image(path.read_bytes(), f"faces of {clip}")
                rows.append([f"{escape(clip)}<br>{escape(system)}", image])
    return [html.section("Faces", html.table(["clip", "frames"], rows, css="strip"))] if rows else []
