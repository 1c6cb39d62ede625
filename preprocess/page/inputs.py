"""A row for each input: what its crops look like, and what became of every second of it."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

from preprocess.advice import duration
from preprocess.page import charts
from preprocess.page.thumbnails import strip

MOST_ROWS = 1000  # dataset.json has the rest
MOST_STRIPS = 200  # rows with pictures
PICTURES, SIDE = 5, 52  # of a strip; pixels
MOST_SPANS = 150  # clips and losses of an input that are drawn
MOST_DOTS = 40
MOST_PROBLEMS = 4


def table(root: Path, dataset: dict[str, Any]) -> str:
    """The inputs, those with the most to say first where there are more than the page can carry."""
    inputs = dataset["inputs"]
    shown = inputs
    if len(inputs) > MOST_ROWS:
        most_lost = sorted(inputs, key=lambda entry: entry["kept_seconds"] - entry["seconds"])
        nothing = [entry for entry in most_lost if not entry["kept_seconds"]][: MOST_ROWS // 2]
        shown = nothing + [entry for entry in most_lost if entry["kept_seconds"]][: MOST_ROWS - len(nothing)]
    clips = defaultdict(list)
    for clip in dataset["clips"]:
        clips[clip["source"]].append(clip)
    pictured = {entry["source"] for entry in [entry for entry in shown if clips[entry["source"]]][:MOST_STRIPS]}
    rows = "".join(_row(root, entry, clips[entry["source"]], entry["source"] in pictured) for entry in shown)
    note = f"{len(inputs):,} in all."
    if len(inputs) > len(shown):
        note = f"{len(shown):,} of {len(inputs):,} inputs, those that lost most first; dataset.json has them all."
    return f"""<section><h2>Inputs</h2><p class="soft">{note} Point at a bar, or tap it, to see why.</p>{_legend()}
<table class="cards inputs paged" role="table" data-size="25" aria-label="inputs"><thead role="rowgroup"><tr role="row">
<th role="columnheader">Input</th><th role="columnheader">Crops</th><th role="columnheader">Time</th>
<th role="columnheader">Lips and sound</th></tr></thead><tbody role="rowgroup">
{rows}</tbody></table></section>"""


def _legend() -> str:
    kinds = ["kept", "faces", "shots", "segments", "sync", "quality", "splits", "probe"]
    keys = " ".join(f'<span><i class="key k-{kind}"></i>{kind}</span>' for kind in kinds)
    return f'<p class="soft legend" aria-hidden="true">{keys}</p>'


def _row(root: Path, entry: dict[str, Any], clips: list[dict[str, Any]], with_pictures: bool) -> str:
    clips = sorted(clips, key=lambda clip: (clip["start"] or 0, clip["clip"]))
    pictures = strip(root, clips, PICTURES, SIDE) if with_pictures else ""
    return (
        f'<tr role="row"><td role="cell">{_name(entry, clips)}</td><td role="cell">{pictures}</td>'
        f'<td role="cell">{_time(entry, clips)}</td><td role="cell">{_sync(entry, clips)}</td></tr>\n'
    )


def _name(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    fate = entry["fate"]
    if fate == "ok":
        fate = "used" if entry["kept_seconds"] else "not used"
    facts = []
    if entry["width"]:
        facts.append(f"{entry['width']}×{entry['height']}")
    if entry["fps"]:
        facts.append(f"{entry['fps']:g} fps")
    facts.append(f"{len(clips)} clip{'' if len(clips) == 1 else 's'}")
    said = [entry["reason"], *entry["problems"][:MOST_PROBLEMS]]
    notes = "".join(f'<div class="note">{escape(text)}</div>' for text in said if text)
    mark = {"used": "good", "not used": "mild"}.get(fate, "bad")
    return (
        f'<b class="name">{escape(entry["source"])}</b> <span class="badge b-{mark}">{escape(fate)}</span>'
        f'<div class="soft">{escape(", ".join(facts))}</div>{notes}'
    )


def _time(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    seconds = entry["seconds"]
    if not seconds:
        return ""
    causes: dict[tuple[str, str], float] = defaultdict(float)
    for lost in entry["lost"]:
        causes[lost["stage"], lost["cause"]] += lost["to"] - lost["from"]
    for clip in clips:
        if clip["fate"] != "ok":
            causes[clip["stage"], clip["cause"]] += clip["seconds"]
    largest = sorted(causes.items(), key=lambda item: -item[1])
    lines = "".join(
        f'<div class="soft"><i class="key k-{escape(stage)}"></i>{duration(lost)} {escape(cause)}</div>'
        for (stage, cause), lost in largest[:3]
    )
    kept = f"{duration(entry['kept_seconds'])} of {duration(seconds)} kept"
    label = "; ".join([kept, *(f"{duration(lost)} {cause}" for (_, cause), lost in largest[:3])])
    bar = charts.time_bar(_spans(entry, clips), seconds, label)
    return f'{bar}<output class="why"></output><div>{kept}</div>{lines}'


def _spans(entry: dict[str, Any], clips: list[dict[str, Any]]) -> list[charts.Span]:
    longest = sorted(entry["lost"], key=lambda lost: lost["from"] - lost["to"])[:MOST_SPANS]
    spans = [
        charts.Span(lost["from"], lost["to"], lost["stage"],
                    f"{lost['from']:.1f} to {lost['to']:.1f} s: {lost['cause']}. {lost['reason']}")
        for lost in longest
    ]  # fmt: skip
    chosen = clips[:: max(1, -(-len(clips) // (4 * MOST_SPANS)))]
    for clip in chosen:
        begin = clip["start"] or 0.0
        kind, note = "kept", f"kept ({clip['split'] or 'in no list'})"
        if clip["fate"] != "ok":
            kind, note = clip["stage"], f"{clip['clip']}: {clip['cause']}. {clip['reason']}"
        spans.append(charts.Span(begin, begin + clip["seconds"], kind, note))
    return spans


def _sync(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    judged = [clip for clip in clips if clip["sync"]]
    if not judged:
        return ""
    if len(judged) == 1:
        sync = judged[0]["sync"]
        drawn = charts.sparkline(sync) if sync["curve"] else ""
        moved = f", corrected by {sync['applied']:+d}" if sync["applied"] else ""
        doubt = "" if sync["sure"] else ", unsure"
        text = f"{_frames(sync['offset'])}, confidence {sync['confidence']:.1f}{doubt}{moved}"
        return f'{drawn}<div class="soft">{text}</div>'
    some = judged[:: max(1, -(-len(judged) // MOST_DOTS))]
    offsets = [clip["sync"]["offset"] for clip in judged if clip["sync"]["sure"]]
    common = f"mostly {_frames(max(set(offsets), key=offsets.count))}, " if offsets else ""
    return (
        f'{charts.offset_dots(some, entry["seconds"])}<div class="soft">{common}{len(offsets)} of {len(judged)} clips '
        "sure</div>"
    )


def _frames(offset: int) -> str:
    return f"{offset:+d} frames" if offset else "in step"
