"""Curves of a training run as SVG figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from wav2lip.reporting import html
from wav2lip.reporting.svg import PlotArea, nice_ticks, text
from wav2lip.serve.ui.training_runs import Curve

WIDTH, HEIGHT = 340, 190  # units of the view box
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 24  # margins
MAX_POINTS = 400  # points of a curve
GROUPS = {"train": 2, "val": 3}  # in drawing order, with the radius of their dots
# Scores drawn first, in this order; throughput and rates are drawn last.
FIRST_SCORES = (
    "loss", "l1", "sync", "accuracy", "auc", "ssim_mouth", "psnr_mouth", "expert_confidence", "expert_offset",
    "expert_distance",
)  # fmt: skip
LAST_SCORES = ("learning_rate", "samples_per_second", "data_wait", "sync_weight")
TITLES = {
    "l1": "L1 distance", "sync": "Sync loss", "accuracy": "Accuracy", "auc": "AUC",
    "ssim_mouth": "SSIM of the mouth", "psnr_mouth": "PSNR of the mouth, dB", "expert_confidence": "Sync confidence",
    "expert_offset": "Offset, frames", "expert_distance": "Sync distance", "samples_per_second": "Samples per second",
    "data_wait": "Fraction of time waiting for data", "l1_mouth": "L1 distance of the mouth",
}  # fmt: skip


def gallery(curves: Mapping[str, Curve]) -> str:
    """Return HTML with a figure for each score, training and validation together; curves: by tag, such as val/loss."""
    scores: dict[str, dict[str, Curve]] = {}
    for tag, curve in curves.items():
        group, _, name = tag.partition("/")
        if group in GROUPS and name:
            scores.setdefault(name, {})[group] = curve
    return "".join(_figure(name, scores[name]) for name in sorted(scores, key=_sort_key))


def title(name: str) -> str:
    """Return the title of a score."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def _sort_key(name: str) -> tuple[int, str]:
    if name in FIRST_SCORES:
        return FIRST_SCORES.index(name), name
    return len(FIRST_SCORES) + (1 + LAST_SCORES.index(name) if name in LAST_SCORES else 0), name


def _figure(name: str, curves: Mapping[str, Curve]) -> str:
    latest = ", ".join(f"{group} {curve.values[-1]:.4g}" for group, curve in curves.items() if curve.values)
    return html.figure(title(name), latest, plot(curves, f"{title(name)}: {latest}"))


def plot(curves: Mapping[str, Curve], label: str) -> str:
    """Return an SVG of curves by group; values that are not finite leave a gap."""
    steps = [step for curve in curves.values() for step in curve.steps]
    values = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    if not values:
        return "<p>No finite value.</p>"
    first, last = min(steps), max(steps)
    ticks = nice_ticks(min(values), max(values))
    y_range = min(ticks[0], min(values)), max(ticks[-1], max(values))
    area = PlotArea(WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, (first, max(last, first + 1)), y_range)
    labels = text(LEFT, HEIGHT - 7, f"{first:,}") + text(WIDTH - RIGHT, HEIGHT - 7, f"step {last:,}", "end")
    groups = "".join(_draw(area, group, subsample(curves[group])) for group in GROUPS if group in curves)
    return area.svg(area.y_grid((tick, f"{tick:.6g}") for tick in ticks) + labels + groups, label)


def _draw(area: PlotArea, group: str, points: list[tuple[int, float]]) -> str:
    dots = "".join(
        area.dot(step, value, GROUPS[group], title=f"{group}, step {step:,}: {value:.5g}")
        for step, value in points
        if math.isfinite(value)
    )
    return f'<g class="{group}">{area.path(points)}{dots}</g>'


def subsample(curve: Curve) -> list[tuple[int, float]]:
    """Return at most MAX_POINTS evenly spaced points of a curve, with the last one."""
    points = list(zip(curve.steps, curve.values, strict=True))
    stride = math.ceil(len(points) / MAX_POINTS)
    return points[::-1][::stride][::-1] if stride > 1 else points
