"""Plots as inline SVG: drawn with the page's own colours, so they are right in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 130  # of a plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 14, 22  # margins
FINEST = 0.003  # share of a time bar below which a span is not drawn by itself
REACH = 15  # frames either way that sync is looked for


@dataclass(frozen=True)
class Span:
    """A part of an input's time on its bar."""

    begin: float  # seconds
    end: float
    kind: str  # "kept", or the stage that took it: its colour
    note: str


def time_bar(spans: Sequence[Span], seconds: float, label: str) -> str:
    """What was kept and lost of an input, from its beginning to its end; each span says why when pointed at."""
    drawn = []
    for span in _joined(spans, FINEST * seconds):
        x, width = 1000 * span.begin / seconds, 1000 * (span.end - span.begin) / seconds
        drawn.append(
            f'<rect x="{x:.1f}" width="{max(width, 2):.1f}" height="20" class="s-{escape(span.kind)}">'
            f"<title>{escape(span.note)}</title></rect>"
        )
    return (
        f'<svg class="bar" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'<rect width="1000" height="20" class="s-none"></rect>{"".join(drawn)}</svg>'
    )


def _joined(spans: Sequence[Span], finest: float) -> list[Span]:
    """Spans in order of time; neighbours with the same fate become one, and what is too fine to see joins the last."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.begin, span.end)):
        last = joined[-1] if joined else None
        near = last is not None and span.begin - last.end <= finest
        if last is not None and near and span.kind == last.kind:
            note = last.note if last.note == span.note else f"{last.note.removesuffix(' …')} …"
            joined[-1] = Span(last.begin, max(last.end, span.end), last.kind, note)
        elif span.end - span.begin >= finest or not near:
            joined.append(span)
    return joined


def histogram(
    values: Sequence[float], label: str, limit: float | None = None, *, bins: int = 25, whole: bool = False,
    percent: bool = False, second: Sequence[float] = (), names: tuple[str, str] = ("", ""),
) -> str:  # fmt: skip
    """How often which value occurs.

    limit: drawn as a line. whole: one bar for each whole number within ±REACH. percent: the values are shares.
    second: drawn on top, in the colour of what is unsure. names: what the two kinds are, for who cannot see them.
    """
    both = np.asarray([*values, *second], float)
    if not len(both):
        return ""
    say = "{:+.0f}".format if whole else "{:.3g}%".format if percent else "{:.4g}".format
    if percent:
        values, second, both = [100 * v for v in values], [100 * v for v in second], 100 * both
        limit = None if limit is None else 100 * limit
    low, high = (-REACH - 0.5, REACH + 0.5) if whole else _range(both, limit)
    edges = np.linspace(low, high, 2 * REACH + 2 if whole else bins + 1)
    counts = [np.histogram(np.clip(kind, low, high), edges)[0] for kind in (values, second)]
    scale = (HEIGHT - TOP - BOTTOM) / max(1, (counts[0] + counts[1]).max())
    step = (WIDTH - LEFT - RIGHT) / (len(edges) - 1)
    bars, base = [], np.full(len(edges) - 1, float(HEIGHT - BOTTOM))
    for kind, colour in zip(counts, ("s-kept", "s-sync"), strict=True):
        for number in np.flatnonzero(kind):
            tall = max(1.5, kind[number] * scale)
            base[number] -= tall
            value = say(edges[number] + 0.5) if whole else f"{say(edges[number])} to {say(edges[number + 1])}"
            bars.append(
                f'<rect x="{LEFT + number * step + 0.5:.1f}" y="{base[number]:.1f}" width="{step - 1:.1f}" '
                f'height="{tall:.1f}" class="{colour}"><title>{value}: {kind[number]}</title></rect>'
            )
    line = (
        "" if limit is None else _limit_line(LEFT + (limit - low) / (high - low) * (WIDTH - LEFT - RIGHT), say(limit))
    )
    marks = np.array([-REACH, 0, REACH]) if whole else np.linspace(low, high, 5)
    ticks = [(LEFT + (mark - low) / (high - low) * (WIDTH - LEFT - RIGHT), say(mark)) for mark in marks]
    summary = f"{label}: median {say(np.median(both))}, from {say(both.min())} to {say(both.max())}"
    if len(second):
        summary += f"; {len(values)} {names[0]}, {len(second)} {names[1]}"
    return _plot("".join(bars) + line + _axis(ticks), summary)


def _range(values: np.ndarray, limit: float | None) -> tuple[float, float]:
    """The values with the limit among them, in four steps of a round number."""
    every = [*values, limit] if limit is not None else values
    low, high = float(min(every)), float(max(every))
    step = (high - low) / 4 or 0.25 * abs(high) or 0.25
    size = 10.0 ** np.floor(np.log10(step))
    for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 10, 20):
        first = np.floor(low / (factor * size)) * factor * size
        if first + 4 * factor * size >= high:
            return first, first + 4 * factor * size
    return low, high


def _limit_line(x: float, limit: str) -> str:
    anchor, aside = ("end", -3) if x > WIDTH / 2 else ("start", 3)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}" class="limit"></line>'
        f'<text x="{x + aside:.1f}" y="{TOP - 3}" text-anchor="{anchor}">limit {limit}</text>'
    )


def _axis(ticks: Sequence[tuple[float, str]]) -> str:
    base = HEIGHT - BOTTOM
    texts = []
    for x, text in ticks:
        anchor = "start" if x < 30 else "end" if x > WIDTH - 30 else "middle"
        texts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{text}</text>')
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" class="axis"></line>{"".join(texts)}'


def _plot(content: str, label: str) -> str:
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{content}</svg>'


def curves(lines: Sequence[tuple[str, Sequence[float]]], label: str) -> str:
    """Agreement of lips and sound against the shift of the sound, a line for each kind of clip.

    lines: (name of the colour, 31 values) each.
    """
    low = min(min(values) for _, values in lines)
    high = max(max(values) for _, values in lines)
    paths = "".join(f'<path class="line l-{kind}" d="{_path(values, low, high)}"></path>' for kind, values in lines)
    zero = (LEFT + WIDTH - RIGHT) / 2
    line = f'<line x1="{zero}" x2="{zero}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="grid"></line>'
    return _plot(line + paths + _axis([(LEFT, f"-{REACH}"), (zero, "0"), (WIDTH - RIGHT, f"+{REACH}")]), label)


def _path(values: Sequence[float], low: float, high: float) -> str:
    step = (WIDTH - LEFT - RIGHT) / (len(values) - 1)
    scale = (HEIGHT - TOP - BOTTOM) / ((high - low) or 1)
    points = [f"{LEFT + n * step:.0f} {HEIGHT - BOTTOM - (value - low) * scale:.0f}" for n, value in enumerate(values)]
    return f"M{'L'.join(points)}"


def sparkline(sync: dict[str, Any]) -> str:
    """One clip's sync curve, small, with its best shift."""
    values = sync["curve"]
    low, high = min(values), max(values)
    path = "L".join(f"{4 * n} {22 - 20 * (v - low) / ((high - low) or 1):.0f}" for n, v in enumerate(values))
    label = f"sync curve, best at {sync['offset']:+d} frames"
    middle = 2 * (len(values) - 1)
    return (f'<svg class="spark" viewBox="0 0 {4 * (len(values) - 1)} 24" role="img" aria-label="{label}">'
            f'<line x1="{middle}" x2="{middle}" y1="0" y2="24" class="grid"></line>'
            f'<path class="line l-{"kept" if sync["sure"] else "sync"}" d="M{path}"></path></svg>')  # fmt: skip


def offset_dots(clips: Sequence[dict[str, Any]], seconds: float) -> str:
    """Sync offset of an input's clips over its time: full dots are sure, rings are not."""
    dots = "".join(
        f'<circle cx="{5 + 110 * (clip["start"] or 0) / (seconds or 1):.0f}" '
        f'cy="{16 - max(-REACH, min(REACH, clip["sync"]["offset"])):.0f}" '
        f'r="2.5" class="{"dot" if clip["sync"]["sure"] else "ring"}"></circle>'
        for clip in clips
    )
    sure = sum(clip["sync"]["sure"] for clip in clips)
    label = f"sync offsets of {len(clips)} clips over time, {sure} of them sure"
    return (f'<svg class="spark" viewBox="0 0 120 32" role="img" aria-label="{label}"><line x1="0" x2="120" y1="16" '
            f'y2="16" class="grid"></line>{dots}</svg>')  # fmt: skip
