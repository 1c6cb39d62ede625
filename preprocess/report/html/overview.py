"""The upper half of the page: statistics of the whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from preprocess.report.html import charts
from wav2lip.reporting.durations import format_duration
from wav2lip.reporting.html import figure, section, table

STAGES = {  # with a short description of what each drops
    "probe": "unreadable", "shots": "cuts", "faces": "no usable face", "segments": "too short segments",
    "crops": "no crops", "sync": "lips and audio", "quality": "quality", "splits": "gap between splits",
}  # fmt: skip
QUALITIES = {
    "face_pixels": ("Face size", "pixels of the source, shorter side"),
    "sharpness": ("Sharpness", "0 to 1; faces in focus 0.45 to 0.7"),
    "exposure": ("Brightness", "mean of the face, 0 black to 1 white"),
    "head_turn": ("Head turn", "0 frontal, 0.25 about 30°"),
    "filled_share": ("Interpolated boxes", "fraction of frames without a detection of their own"),
    "silent_share": ("Silence", "fraction of the audio below -50 dBFS"),
    "clipped_share": ("Clipping", "fraction of the audio at full scale"),
    "static_share": ("Static frames", "fraction of frames equal to the previous one"),
}
LISTS = {"train": "training", "val": "validation during training", "test": "final evaluation"}
MAX_SETTINGS = 200
MAX_CAUSES = 40


def totals(dataset: dict[str, Any]) -> str:
    """Return tiles with the size of the inputs and of the data set."""
    figures = dataset["totals"]
    share = figures["seconds_kept"] / figures["seconds_in"] if figures["seconds_in"] else 0.0
    tiles = [
        (format_duration(figures["seconds_in"]), f"in {figures['inputs']:,} inputs"),
        (format_duration(figures["seconds_kept"]), f"kept, {share:.0%} of it"),
        (f"{figures['clips_kept']:,}", f"clips kept of {figures['clips']:,}"),
        (f"{figures['inputs_used']:,}", f"inputs used of {figures['inputs']:,}"),
    ]
    items = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in tiles)
    return f'<dl class="tiles">{items}</dl>'


def warnings(dataset: dict[str, Any]) -> str:
    """Return a section with the warnings."""
    title = "Before you train"
    if not dataset["warnings"]:
        return section(title, "<p>No warnings. Look at the worst kept clips.</p>", "good")
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in dataset["warnings"])
    return section(title, f"<ul>{items}</ul>", "warn")


def time_by_cause(dataset: dict[str, Any]) -> str:
    """Return a section with one bar for the whole time and a row for each cause."""
    seconds, kept = dataset["totals"]["seconds_in"], dataset["totals"]["seconds_kept"]
    if not seconds:
        return ""
    causes = dataset["dropped"][:MAX_CAUSES]
    spans, end = [charts.Span(0.0, kept, "kept", f"kept: {format_duration(kept)}")], kept
    rows = [_cause_row("kept", "kept", "", kept, seconds, dataset["totals"]["inputs_used"])]
    for entry in causes:
        note = f"{entry['cause']} ({entry['stage']}): {format_duration(entry['seconds'])}"
        spans.append(charts.Span(end, end + entry["seconds"], entry["stage"], note))
        end += entry["seconds"]
        rows.append(
            _cause_row(entry["stage"], entry["cause"], entry["stage"], entry["seconds"], seconds, entry["inputs"])
        )
    bar = charts.time_bar(spans, max(seconds, end), f"{format_duration(kept)} of {format_duration(seconds)} kept")
    head = ["Outcome", "Stage", "Time", "Share", "Inputs"]
    return section("Where the time went", bar + _wide(table(head, rows, numeric=(2, 3, 4))))


def _cause_row(kind: str, cause: str, stage: str, seconds: float, total: float, inputs: int) -> list[str]:
    return [
        f'<i class="key k-{escape(kind)}"></i>{escape(cause)}',
        f'<span title="{escape(STAGES.get(stage, ""))}">{escape(stage)}</span>',
        format_duration(seconds),
        f"{seconds / total:.1%}",
        f"{inputs:,}",
    ]


def _wide(content: str) -> str:
    return f'<div class="wide">{content}</div>'


def splits(dataset: dict[str, Any]) -> str:
    """Return a section with the size of each list."""
    rows = (
        [escape(name), LISTS.get(name, ""), f"{split['clips']:,}", format_duration(split["seconds"])]
        for name, split in dataset["splits"].items()
    )
    return section("Lists", _wide(table(["List", "Used for", "Clips", "Time"], rows, numeric=(2, 3))))


def sync(dataset: dict[str, Any]) -> str:
    """Return a section on the sync of all measured clips."""
    title, summary = "Lips and audio", dataset["sync"]
    if summary is None:
        return section(title, "<p>Not checked.</p>")
    measured = [clip["sync"] for clip in dataset["clips"] if clip["sync"]]
    confident, uncertain = ([entry for entry in measured if entry["confident"] is flag] for flag in (True, False))
    offsets, confidences = (
        tuple([entry[key] for entry in group] for group in (confident, uncertain)) for key in ("offset", "confidence")
    )
    plots = [
        ("Offset", "frames by which the audio lags the video, before correction",
         charts.offset_histogram(offsets[0], offsets[1], "offset")),
        ("Confidence", "of the best shift, against audio of other clips",
         charts.histogram(confidences[0], "confidence", uncertain=confidences[1])),
        ("Similarity at every shift", "mean of the clips, audio shifted by -15 to +15 frames",
         _mean_curves(confident, uncertain)),
    ]  # fmt: skip
    figures = "".join(figure(*plot) for plot in plots if plot[2])
    legend = '<p class="muted"><i class="key k-kept"></i>confident <i class="key k-sync"></i>uncertain, dropped</p>'
    counts = (
        f"{summary['confident']:,} confident, {summary['corrected']:,} of them corrected, {summary['uncertain']:,} "
        "uncertain"
    )
    return section(
        title,
        f'<p>{escape(summary["conclusion"])}</p><p class="muted">Measured with {escape(str(summary["expert"]))}: '
        f'{counts}.</p>{legend if figures else ""}<div class="plots">{figures}</div>',
    )


def _mean_curves(confident: list[dict[str, Any]], uncertain: list[dict[str, Any]]) -> str:
    curves = [
        (kind, np.mean(group, axis=0).tolist())
        for kind, entries in (("kept", confident), ("sync", uncertain))
        if (group := [entry["curve"] for entry in entries if entry["curve"]])
    ]
    return charts.similarity_curves(curves, "mean similarity of lips and audio at each shift") if curves else ""


def quality(dataset: dict[str, Any]) -> str:
    """Return a section with a histogram of each quality measure, over all clips."""
    measured = [clip["quality"] for clip in dataset["clips"] if clip["quality"]]
    limits = dataset["settings"].get("quality")
    figures = []
    for name, (title, unit) in QUALITIES.items():
        values = [entry[name] for entry in measured if entry.get(name) is not None]
        limit = limits.get(f"min_{name}", limits.get(f"max_{name}")) if isinstance(limits, Mapping) else None
        if values:
            plot = charts.histogram(values, title, limit, percent=name.endswith("_share"))
            figures.append(figure(title, unit, plot))
    if not figures:
        return ""
    note = f'<p class="muted">All {len(measured):,} measured clips, kept or not. The line is the limit.</p>'
    return section("Quality", f'{note}<div class="plots">{"".join(figures)}</div>')


def settings(dataset: dict[str, Any]) -> str:
    """Return a section with every setting of the run."""
    flat = list(_flatten("", dataset["settings"]))[:MAX_SETTINGS]
    rows = ([escape(name), escape(str(value))] for name, value in flat)
    content = _wide(table(["Setting", "Value"], rows))
    return f"<section><details><summary><h2>Settings</h2></summary>{content}</details></section>"


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, value
