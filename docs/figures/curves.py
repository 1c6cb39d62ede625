"""Loss curves of two runs of a thin expert for docs/curves.md: one that learns and one on swapped audio.

python -m docs.figures.curves good=RUN wrong=RUN    reads the points from the TensorBoard logs of two runs
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from docs.figures.canvas import PALE

POINTS = Path(__file__).with_name("curves.json")
TITLES = {"good": "30 clips with their own audio", "wrong": "the same clips with swapped audio"}
CURVES = {"train/loss": ("#8a979f", "training"), "val/loss": ("#b3480f", "validation")}
Curve = list[tuple[int, float]]  # step, value


def draw() -> Figure:
    """Draw training and validation loss of both runs beside the loss of chance."""
    runs: dict[str, dict[str, Curve]] = json.loads(POINTS.read_text(encoding="utf-8"))
    figure = Figure((8, 3.0))
    for number, (name, title) in enumerate(TITLES.items()):
        axes = figure.add_axes((0.07 + 0.48 * number, 0.16, 0.43, 0.72))
        _panel(axes, runs[name], title)
        if number:
            axes.set_yticklabels([])
    return figure


def _panel(axes: Axes, run: dict[str, Curve], title: str) -> None:
    for name, (color, label) in CURVES.items():
        steps, values = zip(*run[name], strict=True)
        axes.plot(steps, values, color=color, lw=1.5, label=label)
    axes.axhline(math.log(2), color=PALE, lw=0.8, ls="--")
    axes.text(2, math.log(2) - 0.07, "chance: 0.69", fontsize=8, color=PALE)
    axes.set_ylim(0, 1.2)
    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def record(runs: dict[str, Path]) -> None:
    """Store the points of runs, given by their checkpoint folders."""
    points = {
        name: {curve: _points(folder / "tensorboard", curve) for curve in CURVES} for name, folder in runs.items()
    }
    POINTS.write_text(json.dumps(points, indent=0) + "\n", encoding="utf-8")


def _points(folder: Path, curve: str) -> Curve:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(curve)]


if __name__ == "__main__":
    record({name: Path(folder) for name, _, folder in (word.partition("=") for word in sys.argv[1:])})
