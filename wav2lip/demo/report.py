"""Report of the demo: training curves, frames before and after, and a page with the videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wav2lip.demo.scores import SECOND, DemoScores
from wav2lip.media import read_frames
from wav2lip.reporting import html
from wav2lip.sync.offset_curve import SHIFTS

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
figure { margin: 0 0 2rem } img { max-width: 100% } .videos { display: flex; gap: 2rem; flex-wrap: wrap }
video { width: 256px } th, td { padding: .2rem 1rem .2rem 0; vertical-align: top; text-align: left }
td.numeric { font-variant-numeric: tabular-nums }
"""
INTRODUCTION = """<h1>From videos to lip sync</h1>
<p>A face and a voice that were not in the training data: the video with the new audio and its original lips, the
result, and what the renderer of this face draws for the same words.</p>
<div class="videos">
<figure><video controls src="untouched.mp4"></video><figcaption>untouched</figcaption></figure>
<figure><video controls src="result.mp4"></video><figcaption>generated</figcaption></figure>
<figure><video controls src="truth.mp4"></video><figcaption>truth</figcaption></figure>
</div>
<figure><img src="strip.png" alt="frames of the three videos"><figcaption>The same moments: untouched, generated,
truth.</figcaption></figure>
<p>The second expert, of another seed and width, and canonical correlation, another family, took no part in training the
generator. Agreement is the mean similarity of lips and audio as recorded, confidence the height of its peak over other
shifts.</p>
"""
CURVES = """<figure><img src="shift.png" alt="similarity against shift"><figcaption>Similarity of lips and audio for the
second expert, with the audio shifted: a peak at 0 means in sync.</figcaption></figure>
<figure><img src="curves.png" alt="training curves"><figcaption>Losses over training steps; dots are
validations.</figcaption></figure>
<p>These networks have a quarter of the published channels and trained for minutes on synthetic faces: they show that
the pipeline works, not how good its results can be.</p>
"""


def write_report(out: Path, scores: DemoScores) -> Path:
    """Write all images and index.html into a folder with the runs of the trainers and the videos; return the page."""
    draw_losses(out / "curves.png", [out / name for name in scores.validations])
    draw_shifts(out / "shift.png", {name: 1 - video.curves[SECOND].distance for name, video in scores.videos.items()})
    draw_strip(out / "strip.png", [out / name for name in ("untouched.mp4", "result.mp4", "truth.mp4")])
    head, *rows = scores.rows()
    table = html.table(head, rows, numeric=tuple(range(1, len(head))))
    trainers = html.table(["trainer", "validation score", "value"], [
        [trainer, name, f"{value:.3f}"]
        for trainer, values in scores.validations.items() for name, value in values.items()
    ], numeric=(2,))  # fmt: skip
    page = out / "index.html"
    text = html.page("Wav2Lip toolkit: demo", INTRODUCTION + table + CURVES + trainers, STYLE)
    page.write_text(text, encoding="utf-8")
    return page


def last_scores(folder: Path) -> dict[str, float]:
    """Return the latest validation scores in a trainer's folder."""
    events = _read_events(folder)
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("val/")]
    return {tag.removeprefix("val/"): events.Scalars(tag)[-1].value for tag in tags}


def _read_events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def draw_losses(file: Path, folders: Sequence[Path]) -> None:
    """Plot training and validation losses over steps, a panel for each trainer."""
    figure = Figure(figsize=(5.5 * len(folders), 3.6))
    panels = figure.subplots(1, len(folders), squeeze=False)
    for panel, folder in zip(panels[0], folders, strict=True):
        events = _read_events(folder)
        names = sorted({tag.split("/")[1] for tag in events.Tags()["scalars"]} & {"loss", "l1", "sync", "accuracy"})
        for index, name in enumerate(names):
            for group, style in (("train", "-"), ("val", "o--")):
                if f"{group}/{name}" in events.Tags()["scalars"]:
                    points = events.Scalars(f"{group}/{name}")
                    panel.plot([p.step for p in points], [p.value for p in points], style, color=f"C{index}",
                               label=f"{name}, {'validation' if group == 'val' else 'training'}")  # fmt: skip
        panel.set(title=folder.name, xlabel="step", ylim=(0, None))
        panel.legend(fontsize=8)
    _save(figure, file)


def draw_shifts(file: Path, curves: Mapping[str, np.ndarray]) -> None:
    """Plot the similarity at each of SHIFTS, (31,), of each video."""
    figure = Figure(figsize=(6, 3.2))
    panel = figure.subplots()
    for name, similarity in curves.items():
        panel.plot(SHIFTS, similarity, "o-", markersize=3, label=name)
    panel.set(xlabel="frames by which the audio is shifted", ylabel="mean similarity", ylim=(0, 1))
    panel.legend()
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def draw_strip(file: Path, videos: Sequence[Path], moments: int = 8, every: int = 9, height: int = 180) -> None:
    """Draw frames of the videos at the same moments, a row for each video."""
    rows = []
    for video in videos:
        frames = islice(read_frames(video), 2 * every, (moments + 2) * every, every)
        rows.append(np.hstack([cv2.resize(f, (height * f.shape[1] // f.shape[0], height)) for f in frames]))
    width = min(row.shape[1] for row in rows)
    strip = np.vstack([row[:, :width] for row in rows])
    file.write_bytes(cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))[1].tobytes())
