"""Trainings below a folder, as their TensorBoard logs tell of them, while they run too."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import (
    COMPRESSED_HISTOGRAMS,
    GRAPH,
    HISTOGRAMS,
    IMAGES,
    SCALARS,
    TENSORS,
    EventAccumulator,
)

from wav2lip.serve.refusals import NotThere

EVENTS = re.compile(r"events\.out\.tfevents\.")
LOGS = "tensorboard"  # folder of the events inside that of a training's checkpoints
PREVIEWS, PREVIEW = "previews", re.compile(r"step[0-9]+\.mp4")
DEEPEST = 4  # folders below the one that is searched
MOST_RUNS = 500
# What is kept of each curve, picture and text; of longer curves an even choice.
KEPT = {SCALARS: 2000, IMAGES: 4, TENSORS: 4, GRAPH: 1, COMPRESSED_HISTOGRAMS: 1, HISTOGRAMS: 1}
OPEN_LOGS = 4  # which are read on from where they were, and not anew
QUIET = 300.0  # seconds without news after which a training is taken to have ended


@dataclass(frozen=True)
class Curve:
    """One score over the steps of a training."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Picture:
    """A picture that validation left."""

    step: int
    png: bytes
    width: int  # pixels
    height: int


@dataclass(frozen=True)
class Training:
    """What a log tells."""

    name: str
    curves: dict[str, Curve]  # by their names in TensorBoard: train/loss, val/loss ...
    pictures: dict[str, list[Picture]]  # val: strips of the generator; val/curve: sync against shift
    verdict: str  # the judge's last words, "" before it has spoken
    step: int  # the last one that is told of
    running: bool  # whether there was news a short while ago
    previews: list[Path]  # videos of the validations, in the order of steps


def find_runs(root: Path) -> dict[str, Path]:
    """Folders below `root` in which a training left its log, by their names relative to it."""
    found: dict[str, Path] = {}
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        if any(EVENTS.match(name) for name in files):
            run = here.parent if here.name == LOGS and here != root else here
            found[run.relative_to(root).as_posix() if run != root else root.resolve().name] = run
        if len(here.relative_to(root).parts) >= DEEPEST:
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if len(found) >= MOST_RUNS:
            break
    return dict(sorted(found.items()))


class Trainings:
    """Reads the trainings below a folder; several threads may ask."""

    def __init__(self, root: Path | None):
        """root: as the server was started with, None for none."""
        self.root = root
        self._logs: OrderedDict[Path, EventAccumulator] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """All there are now."""
        return [] if self.root is None else list(find_runs(self.root))

    def folder(self, name: str) -> Path:
        """Where a training is; names are looked up and never made into paths."""
        run = {} if self.root is None else find_runs(self.root)
        if name not in run:
            raise NotThere(f"{name!r}: there is no such training; choose one of the list")
        return run[name]

    def preview(self, name: str, file: str) -> Path:
        """A preview video of a training by the name of its file."""
        found = {path.name: path for path in previews_of(self.folder(name))}
        if file not in found:
            raise NotThere(f"{file!r}: {name} has no such preview; choose one of the list")
        return found[file]

    def picture(self, name: str, tag: str, step: int) -> Picture:
        """A picture of a validation."""
        for picture in self.read(name).pictures.get(tag, []):
            if picture.step == step:
                return picture
        raise NotThere(f"{tag} of step {step}: {name} has no such picture any more; look at the newest")

    def read(self, name: str) -> Training:
        """What the log of a training tells up to now."""
        folder = self.folder(name)
        logs = folder / LOGS if (folder / LOGS).is_dir() else folder
        with self._lock:
            log = self._opened(logs)
            log.Reload()
            scalars = {tag: log.Scalars(tag) for tag in log.Tags()[SCALARS]}
            images = {tag: log.Images(tag) for tag in log.Tags()[IMAGES]}
            texts = {tag: log.Tensors(tag) for tag in log.Tags()[TENSORS]}
        curves = {
            tag: Curve([e.step for e in events], [e.value for e in events]) for tag, events in scalars.items() if events
        }
        pictures = {
            tag: [Picture(e.step, e.encoded_image_string, e.width, e.height) for e in events]
            for tag, events in images.items()
        }
        verdicts = texts.get("verdict/text_summary", [])
        said = verdicts[-1].tensor_proto.string_val[0].decode() if verdicts else ""
        step = max((curve.steps[-1] for curve in curves.values()), default=0)
        running = time.time() - _last_written(logs) < QUIET
        return Training(name, curves, pictures, without_fence(said), step, running, previews_of(folder))

    def _opened(self, logs: Path) -> EventAccumulator:
        if logs not in self._logs:
            self._logs[logs] = EventAccumulator(str(logs), KEPT)
        self._logs.move_to_end(logs)
        while len(self._logs) > OPEN_LOGS:
            self._logs.popitem(last=False)
        return self._logs[logs]


def previews_of(folder: Path) -> list[Path]:
    """The preview videos of a training, oldest step first."""
    return sorted(path for path in (folder / PREVIEWS).glob("step*.mp4") if PREVIEW.fullmatch(path.name))


def without_fence(text: str) -> str:
    """A text without the marks that keep its lines as they are in TensorBoard."""
    return text.removeprefix("```\n").removesuffix("\n```")


def _last_written(logs: Path) -> float:
    """When an event file was last written to, seconds since 1970."""
    return max((file.stat().st_mtime for file in logs.iterdir() if EVENTS.match(file.name)), default=0.0)
