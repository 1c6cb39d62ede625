"""Training runs below a folder, from their TensorBoard logs, also while a run is writing its log."""

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

from wav2lip.serve.errors import NotFound

EVENT_FILE = re.compile(r"events\.out\.tfevents\.")
LOG_FOLDER = "tensorboard"  # inside a checkpoint folder
PREVIEW_FOLDER, PREVIEW_FILE = "previews", re.compile(r"step[0-9]+\.mp4")
DIAGNOSIS_TAG = "diagnosis/text_summary"
MAX_DEPTH = 4  # levels of folders searched below the root
MAX_RUNS = 500
# Maximum number of events in memory per tag; longer curves are subsampled.
MAX_EVENTS = {SCALARS: 2000, IMAGES: 4, TENSORS: 4, GRAPH: 1, COMPRESSED_HISTOGRAMS: 1, HISTOGRAMS: 1}
MAX_OPEN_LOGS = 4  # logs that are read incrementally; others are read from the start
MAX_PAUSE_S = 300.0  # a run without new events for longer is not running


@dataclass(frozen=True)
class Curve:
    """A scalar over the steps of a run."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class LoggedImage:
    """An image logged by a validation."""

    step: int
    png: bytes
    width: int  # pixels
    height: int


@dataclass(frozen=True)
class TrainingRun:
    """Content of a run's log."""

    name: str
    curves: dict[str, Curve]  # TensorBoard tag to curve: train/loss, val/loss ...
    images: dict[str, list[LoggedImage]]  # val: strips of the generator; val/curve: similarity against the offset
    diagnosis: str  # the newest one; empty before the first
    step: int  # the last one in the log
    is_running: bool  # the log was written within MAX_PAUSE_S
    previews: list[Path]  # videos of the validations in order of steps


def find_runs(root: Path) -> dict[str, Path]:
    """Return checkpoint folders with a TensorBoard log by their name relative to `root`."""
    runs: dict[str, Path] = {}
    for name, subfolders, files in os.walk(root):
        folder = Path(name)
        if any(EVENT_FILE.match(file) for file in files):
            run = folder.parent if folder.name == LOG_FOLDER and folder != root else folder
            runs[run.relative_to(root).as_posix() if run != root else root.resolve().name] = run
        if len(folder.relative_to(root).parts) >= MAX_DEPTH:
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if len(runs) >= MAX_RUNS:
            break
    return dict(sorted(runs.items()))


class RunCatalog:
    """Reader of the runs below the server's --runs folder; thread-safe."""

    def __init__(self, root: Path | None):
        """root: None for no runs."""
        self.root = root
        self._logs: OrderedDict[Path, EventAccumulator] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of all runs."""
        return [] if self.root is None else list(find_runs(self.root))

    def folder(self, name: str) -> Path:
        """Return the checkpoint folder of a run. Names are looked up and never used as paths."""
        runs = {} if self.root is None else find_runs(self.root)
        if name not in runs:
            raise NotFound(f"{name!r}: no such run; choose one from the list")
        return runs[name]

    def preview(self, name: str, file: str) -> Path:
        """Return a preview video of a run by its file name."""
        previews = {path.name: path for path in list_previews(self.folder(name))}
        if file not in previews:
            raise NotFound(f"{file!r}: no such preview of {name}; choose one from the list")
        return previews[file]

    def image(self, name: str, tag: str, step: int) -> LoggedImage:
        """Return an image of a validation. Raises: NotFound if newer ones have replaced it."""
        for image in self.read(name).images.get(tag, []):
            if image.step == step:
                return image
        raise NotFound(f"{tag}, step {step}: no such image of {name}; reload to see the newest ones")

    def read(self, name: str) -> TrainingRun:
        """Read the log of a run up to now."""
        folder = self.folder(name)
        log_folder = folder / LOG_FOLDER if (folder / LOG_FOLDER).is_dir() else folder
        with self._lock:
            log = self._open_log(log_folder)
            log.Reload()
            scalars = {tag: log.Scalars(tag) for tag in log.Tags()[SCALARS]}
            images = {tag: log.Images(tag) for tag in log.Tags()[IMAGES]}
            texts = {tag: log.Tensors(tag) for tag in log.Tags()[TENSORS]}
        curves = {
            tag: Curve([e.step for e in events], [e.value for e in events]) for tag, events in scalars.items() if events
        }
        logged_images = {
            tag: [LoggedImage(e.step, e.encoded_image_string, e.width, e.height) for e in events]
            for tag, events in images.items()
        }
        diagnoses = texts.get(DIAGNOSIS_TAG, [])
        diagnosis = diagnoses[-1].tensor_proto.string_val[0].decode() if diagnoses else ""
        step = max((curve.steps[-1] for curve in curves.values()), default=0)
        is_running = time.time() - _last_modified(log_folder) < MAX_PAUSE_S
        return TrainingRun(
            name, curves, logged_images, strip_code_fence(diagnosis), step, is_running, list_previews(folder)
        )

    def _open_log(self, folder: Path) -> EventAccumulator:
        if folder not in self._logs:
            self._logs[folder] = EventAccumulator(str(folder), MAX_EVENTS)
        self._logs.move_to_end(folder)
        while len(self._logs) > MAX_OPEN_LOGS:
            self._logs.popitem(last=False)
        return self._logs[folder]


def list_previews(folder: Path) -> list[Path]:
    """Return the preview videos of a run, the earliest step first."""
    return sorted(path for path in (folder / PREVIEW_FOLDER).glob("step*.mp4") if PREVIEW_FILE.fullmatch(path.name))


def strip_code_fence(text: str) -> str:
    """Remove the Markdown fence that preserves line breaks in TensorBoard."""
    return text.removeprefix("```\n").removesuffix("\n```")


def _last_modified(log_folder: Path) -> float:
    """Return the modification time of the newest event file, in seconds since 1970."""
    return max((file.stat().st_mtime for file in log_folder.iterdir() if EVENT_FILE.match(file.name)), default=0.0)
