"""Stage 2: detect shot boundaries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from preprocess.config import ShotSettings
from preprocess.video_chunks import StageInput, strip_path
from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import Record, hash_values
from wav2lip.media import read_frames
from wav2lip.media.shot_boundaries import detect_shot_boundaries

STAGE = "shots"


@dataclass(frozen=True)
class ShotsStage:
    """Detect the shot boundaries of a chunk."""

    settings: ShotSettings

    def fingerprint(self, stage_input: StageInput) -> str:
        """Hash of the probe record, the chunk and the settings."""
        chunk, probed = stage_input.chunk, stage_input.records["probe"]
        return hash_values(STAGE, asdict(self.settings), chunk.first, chunk.last, probed.fingerprint)

    def __call__(self, stage_input: StageInput, context: WorkerContext, progress: Progress) -> Record:
        """Return boundaries (first frames of new shots, counted in the chunk) and problems (messages)."""
        chunk, problems = stage_input.chunk, list[str]()
        boundaries: list[int] = []
        if self.settings.threshold is not None:
            seconds = stage_input.records["probe"].data["seconds"]
            expected = max(1.0, (chunk.last or seconds * FPS) - chunk.first)  # frames
            frames = read_frames(chunk.source.path, FPS, problems.append, chunk.first, chunk.last)
            try:
                boundaries = detect_boundaries(_report_progress(frames, progress, expected), self.settings)
            except InputError as error:
                return stage_input.reject(STAGE, self.fingerprint(stage_input), error)
        messages = [strip_path(problem, chunk.source) for problem in problems]
        data = {"boundaries": boundaries, "problems": messages}
        return Record(STAGE, chunk.key, self.fingerprint(stage_input), data=data)


def detect_boundaries(frames: Iterable[np.ndarray], settings: ShotSettings) -> list[int]:
    """Return the numbers of the frames that begin a new shot; never 0.

    frames: (H, W, 3) uint8 RGB at 25 fps; only a few are in memory at a time.
    """
    labeled_frames = detect_shot_boundaries(frames, settings.threshold or 0.0, settings.min_shot_frames)
    return [number for number, (_, begins_shot) in enumerate(labeled_frames) if begins_shot]


def _report_progress(frames: Iterable[np.ndarray], progress: Progress, expected: float) -> Iterable[np.ndarray]:
    for number, frame in enumerate(frames):
        if number % FPS == 0:
            progress(min(1.0, number / expected))
        yield frame
