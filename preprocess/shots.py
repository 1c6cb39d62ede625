"""Stage 2: where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from preprocess.manifest import Record, digest
from preprocess.parts import Task, without_path
from preprocess.settings import FPS, ShotSettings
from preprocess.workers import Progress, Tools
from wav2lip.cuts import mark_cuts
from wav2lip.errors import InputError
from wav2lip.media import read_frames

STAGE = "shots"


@dataclass(frozen=True)
class Shots:
    """Finds the cuts of a part of a video."""

    settings: ShotSettings

    def fingerprint(self, task: Task) -> str:
        """Changes with the video, the part and the settings."""
        part = task.part
        return digest(STAGE, asdict(self.settings), part.first, part.last, task.found["probe"].fingerprint)

    def __call__(self, task: Task, tools: Tools, progress: Progress) -> Record:
        """figures: cuts (frames, counted in the part, at which a new shot begins), problems (sentences)."""
        part, problems = task.part, list[str]()
        cuts: list[int] = []
        if self.settings.threshold is not None:
            expected = max(1.0, (part.last or task.found["probe"].figures["seconds"] * FPS) - part.first)
            frames = read_frames(part.source.path, FPS, problems.append, part.first, part.last)
            try:
                cuts = find_cuts(_watched(frames, progress, expected), self.settings)
            except InputError as error:
                return task.rejected(STAGE, self.fingerprint(task), error)
        notes = [without_path(problem, part.source) for problem in problems]
        figures = {"cuts": cuts, "problems": notes}
        return Record(STAGE, part.key, self.fingerprint(task), figures=figures)


def find_cuts(frames: Iterable[np.ndarray], settings: ShotSettings) -> list[int]:
    """Numbers of the frames at which a new shot begins; never 0.

    frames: (H, W, 3) uint8 RGB at 25 a second; few are held at a time.
    """
    marked = mark_cuts(frames, settings.threshold or 0.0, settings.shortest)
    return [number for number, (_, begins_shot) in enumerate(marked) if begins_shot]


def _watched(frames: Iterable[np.ndarray], progress: Progress, expected: float) -> Iterable[np.ndarray]:
    for number, frame in enumerate(frames):
        if number % FPS == 0:
            progress(min(1.0, number / expected))
        yield frame
