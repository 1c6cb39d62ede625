"""Programs and the files that pass between them."""

from __future__ import annotations

from matplotlib.figure import Figure

from docs.figures.canvas import AUDIO, FACE, FILE, INK, NETWORK, arrow, box, sheet
from preprocess.pipeline import STAGES

STAGES_PER_ROW = 5


def draw() -> Figure:
    """Draw the way from a folder of videos to a lip-synced video."""
    figure, axes = sheet(8, 4.6)
    axes.text(2, 2.2, "python -m preprocess", weight="bold", va="center")
    box(axes, 2, 4, 76, 13, "", "#fafafa")
    for number, stage in enumerate(STAGES):
        row, column = divmod(number, STAGES_PER_ROW)
        x, y = 16 + 12 * column, 5.2 + 6 * row
        box(axes, x, y, 10, 4.4, stage, NETWORK)
        if column:
            arrow(axes, (x - 2, y + 2.2), (x, y + 2.2))
    box(axes, 4, 8, 9, 4.8, "videos", FILE)
    arrow(axes, (13, 9.5), (16, 7.4))
    arrow(axes, (70, 9.6), (20, 11.2))
    box(axes, 26, 21, 28, 7, "data root\nGROUP/CLIP/0.jpg ... audio.wav\nfilelists/  packed/  report.html", FILE, 8)
    arrow(axes, (40, 17), (40, 21))
    box(axes, 2, 31, 18, 5, "python -m\ntrain.syncnet", NETWORK)
    arrow(axes, (26, 26), (13, 31))
    box(axes, 24, 31, 10, 5, "expert", FILE)
    arrow(axes, (20, 33.5), (24, 33.5))
    box(axes, 38, 31, 20, 5, "python -m train.wav2lip\ntrain.wav2lip_gan", NETWORK, 8)
    arrow(axes, (34, 33.5), (38, 33.5))
    arrow(axes, (48, 28), (48, 31))
    box(axes, 62, 31, 12, 5, "generator", FILE)
    arrow(axes, (58, 33.5), (62, 33.5))
    box(axes, 2, 39, 18, 5, "face:\nvideo or image", FACE)
    box(axes, 24, 39, 10, 5, "audio", AUDIO)
    box(axes, 38, 39, 20, 5, "python -m wav2lip.infer", NETWORK)
    arrow(axes, (34, 41.5), (38, 41.5))
    axes.plot([11, 11, 48, 48], [44, 45.2, 45.2, 44.2], color=INK, lw=1)
    arrow(axes, (68, 36), (54, 39))
    box(axes, 62, 39, 12, 5, "lip-synced\nvideo", FILE)
    arrow(axes, (58, 41.5), (62, 41.5))
    return figure
