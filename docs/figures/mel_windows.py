"""Mel windows of frames on a spectrogram, cut by the functions of training and inference."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures.canvas import FACE, INK, PALE
from wav2lip.audio.mel import MEL_BANDS, MEL_RATE, melspectrogram
from wav2lip.audio.windows import FPS, LEAD_COLUMNS, WINDOW_COLUMNS, WINDOW_FRAMES, first_column
from wav2lip.synthetic import Speaker, speak

FIRST_FRAME, FRAME, LAST_FRAME = 5, 10, 17


def draw() -> Figure:
    """Draw frames above a spectrogram with the windows of one frame and of five."""
    speaker = Speaker.from_seed(1)
    mel = melspectrogram(speak(2.0, speaker, 1).wav)
    figure = Figure((8, 4.4))
    axes = figure.add_axes((0.1, 0.13, 0.88, 0.84))
    left, right = first_column(FIRST_FRAME), first_column(LAST_FRAME)
    axes.imshow(mel[:, left:right], origin="lower", aspect="auto", cmap="Blues", interpolation="nearest",
                extent=(left, right, 0, MEL_BANDS))  # fmt: skip
    for frame in range(FIRST_FRAME, LAST_FRAME):
        _frame(axes, frame)
    _window(axes, first_column(FRAME - 1), -38, "#b3480f",
            f"generator, frame {FRAME}: {WINDOW_COLUMNS} columns from {first_column(FRAME - 1)}, "
            f"{1000 * LEAD_COLUMNS / MEL_RATE:.0f} ms before the frame")  # fmt: skip
    _window(axes, first_column(FRAME), -14, "#1f5f8b",
            f"expert, frames {FRAME} to {FRAME + WINDOW_FRAMES - 1}: {WINDOW_COLUMNS} columns from "
            f"{first_column(FRAME)}")  # fmt: skip
    axes.set_xlim(left, LAST_FRAME / FPS * MEL_RATE)
    axes.set_ylim(-56, 112)
    axes.set_xlabel(f"mel column, {MEL_RATE} per second ({1000 / MEL_RATE:.1f} ms each)")
    axes.set_yticks([0, MEL_BANDS], ["0", f"{MEL_BANDS} bands"])
    return figure


def _frame(axes: Axes, frame: int) -> None:
    start = frame / FPS * MEL_RATE
    width = MEL_RATE / FPS
    is_selected = frame == FRAME
    axes.add_patch(Rectangle((start, 88), width, 18, fc=FACE if is_selected else "white", ec=INK, lw=1))
    axes.text(start + width / 2, 97, f"frame {frame}", ha="center", va="center", fontsize=7.5)
    axes.plot([start, start], [0, 88], color=PALE, lw=0.5)


def _window(axes: Axes, first: int, y: float, color: str, label: str) -> None:
    axes.add_patch(Rectangle((first, 0), WINDOW_COLUMNS, MEL_BANDS, fc="none", ec=color, lw=1.6))
    axes.plot([first, first], [0, y], color=color, lw=1)
    axes.plot([first, first + WINDOW_COLUMNS], [y, y], color=color, lw=4, solid_capstyle="butt")
    axes.text(first, y - 8, label, color=color, va="center", fontsize=8.5)
