"""Curves as pictures in the page: SVG in the page's own colours, light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from wav2lip.serve.page.trainings import Curve

WIDTH, HEIGHT = 340, 190  # pixels of a plot's own measure; it scales with the page
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 24  # margins
MOST_POINTS = 400  # drawn of a curve
KINDS = ("train", "val")  # in the order in which they are drawn
# Shown first, in this order; speed and rates come last.
FIRST = (
    "loss", "l1", "sync", "accuracy", "auc", "ssim_mouth", "psnr_mouth", "expert_confidence", "expert_offset",
    "expert_distance",
)  # fmt: skip
LAST = ("learning_rate", "samples_per_second", "data_wait", "sync_weight")
TITLES = {
    "l1": "L1 distance", "sync": "Sync loss", "accuracy": "Accuracy", "auc": "AUC",
    "ssim_mouth": "SSIM of the mouth", "psnr_mouth": "PSNR of the mouth, dB", "expert_confidence": "Sync confidence",
    "expert_offset": "Offset, frames", "expert_distance": "Sync distance", "samples_per_second": "Samples a second",
    "data_wait": "Waiting for data, share", "l1_mouth": "L1 distance of the mouth",
}  # fmt: skip


def gallery(curves: Mapping[str, Curve]) -> str:
    """A figure for each score, training and validation in one; HTML."""
    groups: dict[str, dict[str, Curve]] = {}
    for tag, curve in curves.items():
        kind, _, name = tag.partition("/")
        if kind in KINDS and name:
            groups.setdefault(name, {})[kind] = curve
    names = sorted(groups, key=_place)
    return "".join(_figure(name, groups[name]) for name in names)


def title(name: str) -> str:
    """A score's name as a person reads it."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _place(name: str) -> tuple[int, str]:
    if name in FIRST:
        return FIRST.index(name), name
    return (len(FIRST) + 1 + LAST.index(name) if name in LAST else len(FIRST)), name


def _figure(name: str, lines: Mapping[str, Curve]) -> str:
    now = ", ".join(f"{kind} {curve.values[-1]:.4g}" for kind, curve in lines.items() if curve.values)
    heading = f"<b>{escape(title(name))}</b> <span>{escape(now)}</span>"
    return f"<figure><figcaption>{heading}</figcaption>{plot(lines, f'{title(name)}: {now}')}</figure>"


def plot(lines: Mapping[str, Curve], description: str) -> str:
    """An SVG of curves with common axes. Values that are no numbers (a loss that burst) leave a gap."""
    steps = [step for curve in lines.values() for step in curve.steps]
    values = [value for curve in lines.values() for value in curve.values if math.isfinite(value)]
    if not values:
        return "<p>No finite value.</p>"
    first, last = min(steps), max(max(steps), min(steps) + 1)
    ticks = nice_ticks(min(values), max(values))
    low, high = min(ticks[0], min(values)), max(ticks[-1], max(values))

    def x(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>'
        for tick in ticks
    )
    ends = (
        f'<text x="{LEFT}" y="{HEIGHT - 7}">{first:,}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 7}" text-anchor="end">step {max(steps):,}</text>'
    )
    drawn = "".join(
        _line(kind, [(x(step), y(value), step, value) for step, value in thinned(lines[kind])])
        for kind in KINDS
        if kind in lines
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">{grid}{ends}{drawn}</svg>'
    )


def thinned(curve: Curve) -> list[tuple[int, float]]:
    """An even choice of a curve's points, the last one always among them."""
    points = list(zip(curve.steps, curve.values, strict=True))
    every = math.ceil(len(points) / MOST_POINTS)
    return points[::-1][::every][::-1] if every > 1 else points


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that lie from `low` to `high` and one step around."""
    if high - low < 1e-12 * max(abs(high), abs(low), 1e-300):
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(index * step, 12) for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _line(kind: str, points: Sequence[tuple[float, float, int, float]]) -> str:
    """One curve: a path with gaps, and dots that tell their values where there are few."""
    path, pen = [], "M"
    for x, y, _, value in points:
        if math.isfinite(value):
            path.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if kind == "val" else 2}">'
        f"<title>{kind}, step {step:,}: {value:.5g}</title></circle>"
        for x, y, step, value in points
        if math.isfinite(value)
    )
    return f'<g class="{kind}"><path d="{"".join(path)}"/>{dots}</g>'
