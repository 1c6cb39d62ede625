"""Stage 2: where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from preprocess.manifest import Record, digest
from preprocess.parts import Task, without_path
from preprocess.settings import FPS, ShotSettings
from preprocess.workers import Progress, Tools
from wav2lip.errors import InputError
from wav2lip.media import read_frames

STAGE = "shots"
WIDTH = 256  # pixels to which frames are shrunk: a cut changes all of a picture


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

    frames: (H, W, 3) uint8 RGB at 25 a second, one held at a time.
    """
    detector = AdaptiveDetector(adaptive_threshold=settings.threshold or 0.0, min_scene_len=settings.shortest)
    cuts: list[int] = []
    number = -1
    for number, frame in enumerate(frames):
        small = cv2.resize(frame, (WIDTH, max(1, frame.shape[0] * WIDTH // frame.shape[1])))
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        cuts += [cut.frame_num for cut in detector.process_frame(FrameTimecode(number, float(FPS)), bgr)]
    if number >= 0:
        cuts += [cut.frame_num for cut in detector.post_process(FrameTimecode(number, float(FPS)))]
    return cuts


def _watched(frames: Iterable[np.ndarray], progress: Progress, expected: float) -> Iterable[np.ndarray]:
    for number, frame in enumerate(frames):
        if number % FPS == 0:
            progress(min(1.0, number / expected))
        yield frame
