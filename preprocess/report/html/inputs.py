"""A row for each input: its crops, and the outcome of every second."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

from preprocess.report.html import charts
from preprocess.report.html.thumbnails import strip
from wav2lip.reporting.durations import format_duration
from wav2lip.reporting.html import section, table

MAX_ROWS = 1000  # dataset.json has all inputs
MAX_STRIPS = 200  # rows with images
STRIP_IMAGES, IMAGE_SIZE = 5, 52  # images in a strip; width and height of each in pixels
MAX_SPANS = 150  # dropped spans of an input that are drawn
MAX_CLIPS = 4 * MAX_SPANS  # clips of an input that are drawn
MAX_DOTS = 40
MAX_PROBLEMS = 4
MAX_CAUSES = 3
LEGEND = ("kept", "faces", "shots", "segments", "sync", "quality", "splits", "probe")


def input_table(root: Path, dataset: dict[str, Any]) -> str:
    """Return a section with the inputs; if there are too many, those that lost most."""
    inputs = dataset["inputs"]
    chosen = _largest_losses(inputs) if len(inputs) > MAX_ROWS else inputs
    clips = defaultdict(list)
    for clip in dataset["clips"]:
        clips[clip["source"]].append(clip)
    with_strip = {entry["source"] for entry in [entry for entry in chosen if clips[entry["source"]]][:MAX_STRIPS]}
    rows = (_row(root, entry, clips[entry["source"]], entry["source"] in with_strip) for entry in chosen)
    note = f"{len(inputs):,} in all."
    if len(inputs) > len(chosen):
        note = f"{len(chosen):,} of {len(inputs):,} inputs, those that lost most first; dataset.json has them all."
    head = ["Input", "Crops", "Time", "Lips and audio"]
    cards = table(head, rows, label="inputs", css="cards inputs paged", attributes='data-size="25"')
    about = f'<p class="muted">{note} Point at a bar, or tap it, for the reason.</p>'
    return section("Inputs", f"{about}{_legend()}{cards}")


def _largest_losses(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Choose MAX_ROWS inputs; at most half of them kept nothing."""
    ordered = sorted(inputs, key=lambda entry: entry["seconds_kept"] - entry["seconds"])
    empty = [entry for entry in ordered if not entry["seconds_kept"]][: MAX_ROWS // 2]
    return empty + [entry for entry in ordered if entry["seconds_kept"]][: MAX_ROWS - len(empty)]


def _legend() -> str:
    keys = " ".join(f'<span><i class="key k-{kind}"></i>{kind}</span>' for kind in LEGEND)
    return f'<p class="muted legend" aria-hidden="true">{keys}</p>'


def _row(root: Path, entry: dict[str, Any], clips: list[dict[str, Any]], has_images: bool) -> list[str]:
    clips = sorted(clips, key=lambda clip: (clip["start"] or 0, clip["clip"]))
    images = strip(root, clips, STRIP_IMAGES, IMAGE_SIZE) if has_images else ""
    return [_name(entry, clips), images, _time(entry, clips), _sync(entry, clips)]


def _name(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    status = entry["status"]
    if status == "ok":
        status = "used" if entry["seconds_kept"] else "not used"
    facts = []
    if entry["width"]:
        facts.append(f"{entry['width']}×{entry['height']}")
    if entry["fps"]:
        facts.append(f"{entry['fps']:g} fps")
    facts.append(f"{len(clips)} clip{'' if len(clips) == 1 else 's'}")
    notes = [entry["reason"], *entry["problems"][:MAX_PROBLEMS]]
    paragraphs = "".join(f'<div class="note">{escape(note)}</div>' for note in notes if note)
    color = {"used": "good", "not used": "mild"}.get(status, "bad")
    return (
        f'<b class="name">{escape(entry["source"])}</b> <span class="badge b-{color}">{escape(status)}</span>'
        f'<div class="muted">{escape(", ".join(facts))}</div>{paragraphs}'
    )


def _time(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    seconds = entry["seconds"]
    if not seconds:
        return ""
    causes: dict[tuple[str, str], float] = defaultdict(float)
    for span in entry["dropped"]:
        causes[span["stage"], span["cause"]] += span["to"] - span["from"]
    for clip in clips:
        if clip["status"] != "ok":
            causes[clip["stage"], clip["cause"]] += clip["seconds"]
    largest = sorted(causes.items(), key=lambda item: -item[1])[:MAX_CAUSES]
    lines = "".join(
        f'<div class="muted"><i class="key k-{escape(stage)}"></i>{format_duration(lost)} {escape(cause)}</div>'
        for (stage, cause), lost in largest
    )
    summary = f"{format_duration(entry['seconds_kept'])} of {format_duration(seconds)} kept"
    label = "; ".join([summary, *(f"{format_duration(lost)} {cause}" for (_, cause), lost in largest)])
    bar = charts.time_bar(_spans(entry, clips), seconds, label)
    return f'{bar}<output class="reason"></output><div>{summary}</div>{lines}'


def _spans(entry: dict[str, Any], clips: list[dict[str, Any]]) -> list[charts.Span]:
    longest = sorted(entry["dropped"], key=lambda span: span["from"] - span["to"])[:MAX_SPANS]
    spans = [
        charts.Span(span["from"], span["to"], span["stage"],
                    f"{span['from']:.1f} to {span['to']:.1f} s: {span['cause']}. {span['reason']}")
        for span in longest
    ]  # fmt: skip
    for clip in clips[:: max(1, -(-len(clips) // MAX_CLIPS))]:
        begin = clip["start"] or 0.0
        kind, note = "kept", f"kept ({clip['split'] or 'in no list'})"
        if clip["status"] != "ok":
            kind, note = clip["stage"], f"{clip['clip']}: {clip['cause']}. {clip['reason']}"
        spans.append(charts.Span(begin, begin + clip["seconds"], kind, note))
    return spans


def _sync(entry: dict[str, Any], clips: list[dict[str, Any]]) -> str:
    measured = [clip for clip in clips if clip["sync"]]
    if not measured:
        return ""
    if len(measured) == 1:
        sync = measured[0]["sync"]
        curve = charts.sparkline(sync) if sync["curve"] else ""
        correction = f", corrected by {sync['applied']:+d}" if sync["applied"] else ""
        doubt = "" if sync["confident"] else ", uncertain"
        text = f"{_format_offset(sync['offset'])}, confidence {sync['confidence']:.1f}{doubt}{correction}"
        return f'{curve}<div class="muted">{text}</div>'
    sample = measured[:: max(1, -(-len(measured) // MAX_DOTS))]
    offsets = [clip["sync"]["offset"] for clip in measured if clip["sync"]["confident"]]
    common = f"mostly {_format_offset(max(set(offsets), key=offsets.count))}, " if offsets else ""
    text = f"{common}{len(offsets)} of {len(measured)} clips confident"
    return f'{charts.offset_dots(sample, entry["seconds"])}<div class="muted">{text}</div>'


def _format_offset(offset: int) -> str:
    return f"{offset:+d} frames" if offset else "in sync"
