"""The upper half of the page: figures of the whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from preprocess.advice import duration
from preprocess.page import charts

STAGES = {  # of the preprocessing, with what each took away in a person's words
    "probe": "could not be read", "shots": "cuts", "faces": "no usable face", "segments": "too short pieces",
    "crops": "could not be cut", "sync": "lips and sound", "quality": "quality", "splits": "gap between splits",
}  # fmt: skip
QUALITIES = {
    "face_pixels": ("Size of the face", "pixels of the source, shorter side"),
    "sharpness": ("Sharpness", "0 to 1; faces in focus 0.45 to 0.7"),
    "exposure": ("Brightness", "mean of the face, 0 black to 1 white"),
    "head_turn": ("Head turn", "0 from the front, 0.25 about 30°"),
    "filled_share": ("Boxes put in", "share of frames in which the face was guessed"),
    "silent_share": ("Silence", "share of the sound below -50 dBFS"),
    "clipped_share": ("Clipping", "share of the sound at full scale"),
    "frozen_share": ("Frozen pictures", "share of frames like the one before"),
}
MOST_SETTINGS = 200
MOST_CAUSES = 40


def totals(dataset: dict[str, Any]) -> str:
    """What came in and what is left, in four figures."""
    figures = dataset["totals"]
    share = figures["seconds_kept"] / figures["seconds_in"] if figures["seconds_in"] else 0.0
    tiles = [
        (duration(figures["seconds_in"]), f"in {figures['inputs']:,} inputs"),
        (duration(figures["seconds_kept"]), f"kept, {share:.0%} of it"),
        (f"{figures['clips_kept']:,}", f"clips kept of {figures['clips']:,}"),
        (f"{figures['inputs_used']:,}", f"inputs used of {figures['inputs']:,}"),
    ]
    items = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in tiles)
    return f'<dl class="tiles">{items}</dl>'


def warnings(dataset: dict[str, Any]) -> str:
    """What to know first."""
    if not dataset["warnings"]:
        text = "<p>Nothing stands out. Look at the worst clips that were kept.</p>"
        return f'<section class="good"><h2>Before you train</h2>{text}</section>'
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in dataset["warnings"])
    return f'<section class="warn"><h2>Before you train</h2><ul>{items}</ul></section>'


def where_time_went(dataset: dict[str, Any]) -> str:
    """One bar for all the time there was, and a row for each cause."""
    seconds, kept = dataset["totals"]["seconds_in"], dataset["totals"]["seconds_kept"]
    if not seconds:
        return ""
    spans, now = [charts.Span(0.0, kept, "kept", f"kept: {duration(kept)}")], kept
    for entry in dataset["lost"][:MOST_CAUSES]:
        note = f"{entry['cause']} ({entry['stage']}): {duration(entry['seconds'])}"
        spans.append(charts.Span(now, now + entry["seconds"], entry["stage"], note))
        now += entry["seconds"]
    bar = charts.time_bar(spans, max(seconds, now), f"{duration(kept)} of {duration(seconds)} kept")
    rows = _cause_row("kept", "kept", "", kept, seconds, dataset["totals"]["inputs_used"]) + "".join(
        _cause_row(entry["stage"], entry["cause"], entry["stage"], entry["seconds"], seconds, entry["inputs"])
        for entry in dataset["lost"][:MOST_CAUSES]
    )
    return f"""<section><h2>Where the time went</h2>{bar}
<div class="wide"><table><thead><tr><th>What</th><th>Stage</th><th class="n">Time</th><th class="n">Share</th>
<th class="n">Inputs</th></tr></thead><tbody>{rows}</tbody></table></div></section>"""


def _cause_row(kind: str, cause: str, stage: str, seconds: float, total: float, inputs: int) -> str:
    return (
        f'<tr><td><i class="key k-{escape(kind)}"></i>{escape(cause)}</td><td title="{escape(STAGES.get(stage, ""))}">'
        f'{escape(stage)}</td><td class="n">{escape(duration(seconds))}</td><td class="n">{seconds / total:.1%}</td>'
        f'<td class="n">{inputs:,}</td></tr>'
    )


def splits(dataset: dict[str, Any]) -> str:
    """What goes into which list."""
    use = {"train": "trained on", "val": "looked at while training", "test": "kept for the end"}
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td>{use.get(name, "")}</td><td class="n">{split["clips"]:,}</td>'
        f'<td class="n">{escape(duration(split["seconds"]))}</td></tr>'
        for name, split in dataset["splits"].items()
    )
    return f"""<section><h2>Lists</h2><div class="wide"><table><thead><tr><th>List</th><th>What for</th>
<th class="n">Clips</th><th class="n">Time</th></tr></thead><tbody>{rows}</tbody></table></div></section>"""


def sync(dataset: dict[str, Any]) -> str:
    """Whether lips and sound agree, over all clips that were judged."""
    summary = dataset["sync"]
    if summary is None:
        return "<section><h2>Lips and sound</h2><p>Not checked.</p></section>"
    judged = [clip["sync"] for clip in dataset["clips"] if clip["sync"]]
    sure, unsure = ([entry for entry in judged if entry["sure"] == is_sure] for is_sure in (True, False))
    plots = [
        ("Offset", "frames by which the sound comes after the lips, as found",
         charts.histogram([s["offset"] for s in sure], "offset in frames", whole=True,
                          second=[s["offset"] for s in unsure], names=("sure", "unsure"))),
        ("Confidence", "how far the best shift stands out",
         charts.histogram([s["confidence"] for s in sure], "confidence",
                          second=[s["confidence"] for s in unsure], names=("sure", "unsure"))),
        ("Agreement at every shift", "mean of the clips, sound moved by -15 to +15 frames", _mean_curves(sure, unsure)),
    ]  # fmt: skip
    figures = "".join(_figure(*plot) for plot in plots if plot[2])
    legend = '<p class="soft"><i class="key k-kept"></i>sure <i class="key k-sync"></i>unsure, set aside</p>'
    counts = f"{summary['sure']:,} sure, {summary['corrected']:,} of them corrected, {summary['unsure']:,} unsure"
    return f"""<section><h2>Lips and sound</h2><p>{escape(summary["verdict"])}</p>
<p class="soft">Judged by: {escape(str(summary["expert"]))}. {counts}.</p>{legend if figures else ""}
<div class="plots">{figures}</div></section>"""


def _mean_curves(sure: list[dict[str, Any]], unsure: list[dict[str, Any]]) -> str:
    kinds = {"kept": sure, "sync": unsure}
    lines = [
        (kind, np.mean(curves, axis=0).tolist())
        for kind, entries in kinds.items()
        if (curves := [entry["curve"] for entry in entries if entry["curve"]])
    ]
    return charts.curves(lines, "mean agreement of lips and sound at each shift of the sound") if lines else ""


def _figure(title: str, unit: str, plot: str) -> str:
    caption = f'<b>{escape(title)}</b> <span class="soft">{escape(unit)}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{plot}</figure>"


def qualities(dataset: dict[str, Any]) -> str:
    """A histogram of each quality, over all clips that were cut."""
    measured = [clip["quality"] for clip in dataset["clips"] if clip["quality"]]
    limits = dataset["settings"].get("quality")
    figures = []
    for name, (title, unit) in QUALITIES.items():
        values = [quality[name] for quality in measured if quality.get(name) is not None]
        limit = limits.get(name) if isinstance(limits, Mapping) else None
        if values:
            plot = charts.histogram(values, title, limit, percent=name.endswith("_share"))
            figures.append(_figure(title, unit, plot))
    if not figures:
        return ""
    return f"""<section><h2>Quality</h2><p class="soft">Of all {len(measured):,} clips that were measured, kept or not.
The line is the limit.</p><div class="plots">{"".join(figures)}</div></section>"""


def settings(dataset: dict[str, Any]) -> str:
    """Every setting of the run."""
    flat = list(_flat("", dataset["settings"]))
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(v))}</td></tr>" for name, v in flat[:MOST_SETTINGS])
    return f"""<section><details><summary><h2>Settings</h2></summary><div class="wide">
<table><thead><tr><th>Setting</th><th>Value</th></tr></thead><tbody>{rows}</tbody></table></div></details></section>"""


def _flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, value
