"""Drawing helpers of the figures: SVG with searchable text, boxes and arrows on a grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, PALE = "#22303c", "#8a979f"
AUDIO, FACE, NETWORK, FILE, PLAIN = "#cfe6f5", "#fbe3c8", "#d8ecdc", "#f1f1ec", "#ffffff"
SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: searchable, and the file small
    "svg.hashsalt": "wav2lip",  # deterministic files
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def save(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw a figure and write it as SVG."""
    with matplotlib.rc_context(SETTINGS):
        figure = draw()
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of a size in inches; coordinates are tenths of an inch from the top left."""
    figure = Figure((width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 10 * width)
    axes.set_ylim(10 * height, 0)
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str, size: float = 9) -> None:
    """Draw a box with centered text."""
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=color, ec=PALE, lw=0.8))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size, linespacing=1.3)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0) -> None:
    """Draw an arrow between two points; bend: 0 is straight."""
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1, "connectionstyle": f"arc3,rad={bend}", "shrinkA": 0,
             "shrinkB": 0}  # fmt: skip
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
