"""Inline SVG plots, colored by the classes of the page's style sheet, so that they follow light and dark themes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
Tick = tuple[float, str]  # value and label


@dataclass(frozen=True)
class PlotArea:
    """Mapping from data values to the view box of a plot."""

    width: float  # size of the view box, in its own units
    height: float
    left: float  # margins
    right: float
    top: float
    bottom: float
    x_range: Point  # data values at the left and right margins
    y_range: Point  # data values at the bottom and top margins

    @property
    def base(self) -> float:
        """Vertical position of the x axis."""
        return self.height - self.bottom

    def x(self, value: float) -> float:
        """Return the horizontal position of a data value."""
        low, high = self.x_range
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Return the vertical position of a data value."""
        low, high = self.y_range
        return self.base - (value - low) / ((high - low) or 1) * (self.base - self.top)

    def vertical(self, value: float, css: str) -> str:
        """Draw a line over the whole height at a data value."""
        return line(self.x(value), self.top, self.x(value), self.base, css)

    def x_axis(self, ticks: Iterable[Tick], css: str = "axis") -> str:
        """Draw the x axis with its labels, which stay inside the view box."""
        axis = line(self.left, self.base, self.width - self.right, self.base, css)
        return axis + "".join(
            text(self.x(value), self.height - 6, label, self._anchor(self.x(value))) for value, label in ticks
        )

    def y_grid(self, ticks: Iterable[Tick], css: str = "grid") -> str:
        """Draw horizontal lines with labels at their left."""
        return "".join(
            line(self.left, self.y(value), self.width - self.right, self.y(value), css)
            + text(self.left - 6, self.y(value) + 3.5, label, "end")
            for value, label in ticks
        )

    def path(self, points: Iterable[Point], css: str = "") -> str:
        """Draw a line through data points, with gaps at values that are not finite."""
        commands, pen = [], "M"
        for x, y in points:
            if math.isfinite(y):
                commands.append(f"{pen}{self.x(x):.1f} {self.y(y):.1f}")
                pen = "L"
            else:
                pen = "M"
        return f'<path{_class(css)} d="{"".join(commands)}"></path>'

    def dot(self, x: float, y: float, radius: float, css: str = "", title: str = "") -> str:
        """Draw a dot at a data point; title: tooltip."""
        return f'<circle{_class(css)} cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:g}">{_title(title)}</circle>'

    def svg(self, content: str, label: str, css: str = "plot") -> str:
        """Return the SVG image of drawn elements; label: description for screen readers."""
        return svg(content, self.width, self.height, label, css)

    def _anchor(self, x: float) -> str:
        return "start" if x < 30 else "end" if x > self.width - 30 else "middle"


def svg(content: str, width: float, height: float, label: str, css: str, attributes: str = "") -> str:
    """Return an SVG image; label: description for screen readers. attributes: further attributes, as markup."""
    box = f'viewBox="0 0 {width:g} {height:g}"{" " if attributes else ""}{attributes}'
    return f'<svg class="{css}" {box} role="img" aria-label="{escape(label)}">{content}</svg>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"{_class(css)}></line>'


def rect(x: float, y: float, width: float, height: float, css: str, title: str = "") -> str:
    """Return a rectangle; title: tooltip."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{_class(css)}>{_title(title)}</rect>'
    )


def text(x: float, y: float, content: str, anchor: str = "start", css: str = "") -> str:
    """Return a label; anchor: start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{_class(css)}>{escape(content)}</text>'


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers, 1, 2 or 5 times a power of ten apart, that enclose `low` and `high`."""
    if high - low < 1e-12 * max(abs(high), abs(low), 1e-300):
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(index * step, 12) for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


def format_shift(shift: float) -> str:
    """Format a number of frames with its sign; 0 has none."""
    return f"{shift:+.0f}" if shift else "0"


def _class(css: str) -> str:
    return f' class="{escape(css)}"' if css else ""


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""
