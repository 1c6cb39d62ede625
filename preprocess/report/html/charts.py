"""Charts of the report as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wav2lip.reporting.svg import PlotArea, format_shift, line, rect, svg, text
from wav2lip.sync.expert import MAX_SHIFT

WIDTH, HEIGHT = 320, 130  # units of a plot's view box
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 22  # margins
MIN_SPAN_FRACTION = 0.003  # of a time bar; shorter spans are not drawn separately
NUM_BINS = 25


@dataclass(frozen=True)
class Span:
    """A segment of a time bar."""

    begin: float  # seconds
    end: float
    kind: str  # "kept", or the stage that dropped it: its color
    note: str


def time_bar(spans: Sequence[Span], seconds: float, label: str) -> str:
    """Draw kept and dropped spans from start to end; each has its note as a tooltip."""
    bars = [rect(0, 0, 1000, 20, "s-none")]
    for span in _merge(spans, MIN_SPAN_FRACTION * seconds):
        x, width = 1000 * span.begin / seconds, 1000 * (span.end - span.begin) / seconds
        bars.append(rect(x, 0, max(width, 2), 20, f"s-{span.kind}", span.note))
    return svg("".join(bars), 1000, 20, label, "bar", 'preserveAspectRatio="none"')


def _merge(spans: Sequence[Span], min_length: float) -> list[Span]:
    """Sort spans by time, merge neighbors of one kind, and drop spans that are too short to see."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.begin, span.end)):
        last = merged[-1] if merged else None
        adjacent = last is not None and span.begin - last.end <= min_length
        if last is not None and adjacent and span.kind == last.kind:
            note = last.note if last.note == span.note else f"{last.note.removesuffix(' …')} …"
            merged[-1] = Span(last.begin, max(last.end, span.end), last.kind, note)
        elif span.end - span.begin >= min_length or not adjacent:
            merged.append(span)
    return merged


def offset_histogram(confident: Sequence[float], uncertain: Sequence[float], label: str) -> str:
    """Draw how often each offset within ±MAX_SHIFT frames occurs; uncertain clips on top."""
    edges = np.arange(-MAX_SHIFT - 0.5, MAX_SHIFT + 1)
    titles = [format_shift(shift) for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)]
    ticks = [(float(shift), format_shift(shift)) for shift in (-MAX_SHIFT, 0, MAX_SHIFT)]
    return _histogram((confident, uncertain), edges, titles, ticks, label, format_shift)


def histogram(
    values: Sequence[float], label: str, limit: float | None = None, *, percent: bool = False,
    uncertain: Sequence[float] = (),
) -> str:  # fmt: skip
    """Draw how often values occur.

    limit: drawn as a line. percent: values are fractions. uncertain: values drawn on top in another color.
    """
    scale = 100 if percent else 1
    groups = [scale * np.asarray(group, float) for group in (values, uncertain)]
    limit = None if limit is None else scale * limit
    all_values = np.concatenate(groups)
    if not len(all_values):
        return ""
    low, high = _round_range([*all_values, limit] if limit is not None else all_values)
    edges = np.linspace(low, high, NUM_BINS + 1)

    def label_value(value: float) -> str:
        return f"{value:.3g}%" if percent else f"{value:.4g}"

    titles = [f"{label_value(a)} to {label_value(b)}" for a, b in pairwise(edges)]
    ticks = [(float(tick), label_value(tick)) for tick in np.linspace(low, high, 5)]
    return _histogram(groups, edges, titles, ticks, label, label_value, limit)


def _histogram(
    groups: Sequence[Sequence[float] | np.ndarray], edges: np.ndarray, titles: Sequence[str],
    ticks: Sequence[tuple[float, str]], label: str, label_value: Callable[[float], str], limit: float | None = None,
) -> str:  # fmt: skip
    """Draw stacked bars. groups: confident and uncertain values. titles: of the bins."""
    all_values = np.concatenate([np.asarray(group, float) for group in groups])
    if not len(all_values):
        return ""
    counts = np.array([np.histogram(np.clip(group, edges[0], edges[-1]), edges)[0] for group in groups])
    area = _area((edges[0], edges[-1]), (0, max(1, counts.sum(axis=0).max())))
    bars, stacked = [], np.full(len(edges) - 1, area.base)
    for count, css in zip(counts, ("s-kept", "s-sync"), strict=True):
        for n in np.flatnonzero(count).tolist():
            height = max(1.5, area.base - area.y(count[n]))
            stacked[n] -= height
            x, width = area.x(edges[n]), area.x(edges[n + 1]) - area.x(edges[n])
            bars.append(rect(x + 0.5, stacked[n], width - 1, height, css, f"{titles[n]}: {count[n]}"))
    median, low, high = (label_value(float(f(all_values))) for f in (np.median, np.min, np.max))
    summary = f"{label}: median {median}, from {low} to {high}"
    if len(groups[1]):
        summary += f"; {len(groups[0])} confident, {len(groups[1])} uncertain"
    marker = "" if limit is None else _limit(area, limit, label_value(limit))
    return area.svg("".join(bars) + marker + area.x_axis(ticks), summary)


def _area(x_range: tuple[float, float], y_range: tuple[float, float]) -> PlotArea:
    return PlotArea(WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, x_range, y_range)


def _round_range(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return a range that encloses the values in four round steps."""
    low, high = float(min(values)), float(max(values))
    step = (high - low) / 4 or 0.25 * abs(high) or 0.25
    size = 10.0 ** np.floor(np.log10(step))
    for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 10, 20):
        first = np.floor(low / (factor * size)) * factor * size
        if first + 4 * factor * size >= high:
            return first, first + 4 * factor * size
    return low, high


def _limit(area: PlotArea, limit: float, label: str) -> str:
    x = area.x(limit)
    anchor, shift = ("end", -3) if x > WIDTH / 2 else ("start", 3)
    return line(x, TOP - 4, x, area.base, "limit") + text(x + shift, TOP - 3, f"limit {label}", anchor)


def similarity_curves(curves: Sequence[tuple[str, Sequence[float]]], label: str) -> str:
    """Draw the similarity of lips and audio against the shift of the audio.

    curves: color class and 31 values each.
    """
    values = [value for _, curve in curves for value in curve]
    area = _area((-MAX_SHIFT, MAX_SHIFT), (min(values), max(values)))
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    lines = "".join(area.path(zip(shifts, curve, strict=True), f"line l-{kind}") for kind, curve in curves)
    ticks = [(float(shift), format_shift(shift)) for shift in (-MAX_SHIFT, 0, MAX_SHIFT)]
    return area.svg(area.vertical(0, "grid") + lines + area.x_axis(ticks), label)


def sparkline(sync: dict[str, Any]) -> str:
    """Draw the sync curve of one clip, small."""
    curve = sync["curve"]
    last = len(curve) - 1
    area = PlotArea(4 * last, 24, 0, 0, 2, 2, (0, last), (min(curve), max(curve)))
    middle = line(2 * last, 0, 2 * last, 24, "grid")
    path = area.path(enumerate(curve), f"line l-{'kept' if sync['confident'] else 'sync'}")
    return area.svg(middle + path, f"sync curve, best at {sync['offset']:+d} frames", "spark")


def offset_dots(clips: Sequence[dict[str, Any]], seconds: float) -> str:
    """Draw the sync offset of an input's clips over time: dots are confident, rings are uncertain."""
    area = PlotArea(120, 32, 5, 5, 1, 1, (0, seconds), (-MAX_SHIFT, MAX_SHIFT))
    dots = []
    for clip in clips:
        offset = max(-MAX_SHIFT, min(MAX_SHIFT, clip["sync"]["offset"]))
        dots.append(area.dot(clip["start"] or 0, offset, 2.5, "dot" if clip["sync"]["confident"] else "ring"))
    confident = sum(clip["sync"]["confident"] for clip in clips)
    label = f"sync offsets of {len(clips)} clips over time, {confident} of them confident"
    return area.svg(line(0, 16, 120, 16, "grid") + "".join(dots), label, "spark")
