"""What all pictures have in common: an SVG whose words stay words, boxes and arrows on a grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, PALE = "#22303c", "#8a979f"
SOUND, FACE, NETWORK, FILE, PLAIN = "#cfe6f5", "#fbe3c8", "#d8ecdc", "#f1f1ec", "#ffffff"
SETTINGS: Any = {
    "svg.fonttype": "none",  # words are text: they can be searched, and the file stays small
    "svg.hashsalt": "wav2lip",  # the same file each time
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def save(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw a picture and write it as SVG."""
    with matplotlib.rc_context(SETTINGS):
        figure = draw()
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture of so many inches, measured in units of a tenth of an inch from the top left."""
    figure = Figure((width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 10 * width)
    axes.set_ylim(10 * height, 0)
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, words: str, colour: str, size: float = 9) -> None:
    """A box with words in its middle."""
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=colour, ec=PALE, lw=0.8))
    axes.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=size, linespacing=1.3)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0) -> None:
    """An arrow from one point to another; bend: 0 is straight."""
    style = {"arrowstyle": "-|>", "color": INK, "lw": 1, "connectionstyle": f"arc3,rad={bend}", "shrinkA": 0,
             "shrinkB": 0}  # fmt: skip
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
