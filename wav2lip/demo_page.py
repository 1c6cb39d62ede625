"""What the demo shows: curves, a strip of frames, and a page with the videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from string import Template

import cv2
import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wav2lip.media import read_frames

MEANING = {
    "accuracy": "the expert tells right from wrong sound, on a speaker it never saw (chance 0.5)",
    "auc": "the same as area under the ROC curve (chance 0.5)",
    "val_sync": "sync loss of lips generated for held-out sound (lower is better)",
    "val_sync_of_input": "sync loss of the same windows untouched",
    "result_sync": "sync loss of the finished video above",
    "untouched_sync": "sync loss of the same video with the new sound and its old lips",
}
PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Wav2Lip toolkit: demo</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
figure { margin: 0 0 2rem } img { max-width: 100% } .videos { display: flex; gap: 2rem; flex-wrap: wrap }
video { width: 256px } td { padding: .2rem 1rem .2rem 0; vertical-align: top }
td.n { font-variant-numeric: tabular-nums }
</style>
<h1>From videos to lip sync</h1>
<p>A face and a voice that training never saw. Left, the video with the new sound and its old lips; right, the
result.</p>
<div class="videos">
<figure><video controls src="untouched.mp4"></video><figcaption>untouched</figcaption></figure>
<figure><video controls src="result.mp4"></video><figcaption>generated</figcaption></figure>
</div>
<figure><img src="strip.png" alt="frames before and after"><figcaption>The same moments: untouched above, generated
below.</figcaption></figure>
<table>$rows</table>
<figure><img src="shift.png" alt="agreement against shift"><figcaption>The expert's agreement when the sound is moved
against the pictures: a peak at 0 means in sync.</figcaption></figure>
<figure><img src="curves.png" alt="training curves"><figcaption>Losses over training steps; dots are held-out
data.</figcaption></figure>
<p>These networks have a quarter of the published channels and trained for minutes on one synthetic face: they show
that the chain works, not how good it gets.</p>
""")


def write(
    out: Path, *, scores: Mapping[str, float], shifts: Sequence[int], curves: Mapping[str, np.ndarray],
    logs: Sequence[Path],
) -> Path:  # fmt: skip
    """Draw everything into a folder that holds result.mp4 and untouched.mp4; returns the page.

    curves: agreement by shift, (windows, shifts) each. logs: the trainers' checkpoint folders.
    """
    draw_losses(out / "curves.png", logs)
    draw_shifts(out / "shift.png", shifts, curves)
    draw_strip(out / "strip.png", [out / "untouched.mp4", out / "result.mp4"])
    rows = "".join(f'<tr><td>{name}<td class="n">{value:.3f}<td>{MEANING[name]}' for name, value in scores.items())
    page = out / "index.html"
    page.write_text(PAGE.substitute(rows=rows), encoding="utf-8")
    return page


def last_scores(folder: Path) -> dict[str, float]:
    """The newest validation scores in a trainer's folder."""
    events = _events(folder)
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("val/")]
    return {tag.removeprefix("val/"): events.Scalars(tag)[-1].value for tag in tags}


def _events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def draw_losses(file: Path, folders: Sequence[Path]) -> None:
    """Every training and validation loss over steps, a panel a trainer."""
    figure = Figure(figsize=(5.5 * len(folders), 3.6))
    panels = figure.subplots(1, len(folders), squeeze=False)
    for panel, folder in zip(panels[0], folders, strict=True):
        events = _events(folder)
        names = sorted({tag.split("/")[1] for tag in events.Tags()["scalars"]} & {"loss", "l1", "sync", "accuracy"})
        for colour, name in enumerate(names):
            for group, style in (("train", "-"), ("val", "o--")):
                if f"{group}/{name}" in events.Tags()["scalars"]:
                    points = events.Scalars(f"{group}/{name}")
                    panel.plot([p.step for p in points], [p.value for p in points], style, color=f"C{colour}",
                               label=f"{name}, {'held out' if group == 'val' else 'training'}")  # fmt: skip
        panel.set(title=folder.name, xlabel="step", ylim=(0, None))
        panel.legend(fontsize=8)
    _save(figure, file)


def draw_shifts(file: Path, shifts: Sequence[int], curves: Mapping[str, np.ndarray]) -> None:
    """Mean agreement against the shift of the sound."""
    figure = Figure(figsize=(6, 3.2))
    panel = figure.subplots()
    for name, agreement in curves.items():
        if not len(agreement):
            continue  # no face in it
        panel.plot(shifts, agreement.mean(axis=0), "o-", markersize=3, label=name)
    panel.set(xlabel="sound moved by (frames)", ylabel="mean agreement", ylim=(0, 1))
    panel.legend()
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def draw_strip(file: Path, videos: Sequence[Path], moments: int = 8, every: int = 9, height: int = 180) -> None:
    """Frames of the videos at the same moments, a row a video."""
    rows = []
    for video in videos:
        picked = islice(read_frames(video), 2 * every, (moments + 2) * every, every)
        rows.append(np.hstack([cv2.resize(f, (height * f.shape[1] // f.shape[0], height)) for f in picked]))
    width = min(row.shape[1] for row in rows)
    strip = np.vstack([row[:, :width] for row in rows])
    file.write_bytes(cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))[1].tobytes())
