"""Sources in memory, detectors with known results, and small lip-sync engines."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Sequence
from fractions import Fraction

import numpy as np
import torch

from face_detection import Face
from models import Wav2Lip
from wav2lip.audio.windows import InferenceWindows, MelWindows
from wav2lip.engine.face_location import PrecomputedBoxes
from wav2lip.engine.interface import FaceLocator, FrameItem, LocatedFrame, Source
from wav2lip.engine.timeline import decode, fill_timeline, first_frames
from wav2lip.faces.boxes import Box
from wav2lip.faces.roll_alignment import Align, keep_roll
from wav2lip.lipsync import LipSync
from wav2lip.lipsync.blending import Blend
from wav2lip.lipsync.silence import SilenceControl
from wav2lip.lipsync.stages import align_faces, blend_faces, generate_faces

MAGENTA, CYAN, YELLOW = (250, 0, 250), (0, 250, 250), (250, 250, 0)  # neither in the portrait nor gray


class MemorySource:
    """A source of frames in memory."""

    path, static, fps, stated_frames = "frames in memory", False, Fraction(25), 0

    def __init__(self, frames):
        self._frames = frames

    def frames(self, first=0, last=None):
        return (frame.copy() for frame in self._frames[first:last])


class ScriptedDetector:
    """A detector that returns scripted boxes, frame after frame; None for a frame without a face."""

    name = "scripted"

    def __init__(self, boxes):
        self._boxes = itertools.cycle(boxes)

    def detect(self, frames):
        boxes = [next(self._boxes) for _ in frames]
        return [[] if box is None else [Face(tuple(map(float, box)), 0.9)] for box in boxes]


class ColorDetector:
    """A detector of plain rectangles in three colors, in any crop of a frame at any size; counts its images."""

    name = "color"
    fingerprint = "color 1"

    def __init__(self):
        self.num_images = 0

    def detect(self, frames):
        self.num_images += len(frames)
        return [list(self._faces(np.asarray(frame))) for frame in frames]

    def _faces(self, frame):
        for color in (MAGENTA, CYAN, YELLOW):
            rows, columns = np.nonzero((np.abs(frame.astype(int) - color) < 80).all(axis=2))
            if len(rows) >= 20:
                box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                yield Face(tuple(map(float, box)), 0.9)


def paint_faces(frame, *faces):
    """Return a copy of a frame (H, W, 3) with faces (color, (left, top, right, bottom)) for ColorDetector."""
    frame = frame.copy()
    for color, (left, top, right, bottom) in faces:
        frame[top:bottom, left:right] = color
    return frame


def scripted_lipsync(boxes, generator=None) -> LipSync:
    """A thin random generator and a ScriptedDetector."""
    torch.manual_seed(0)
    generator = generator or Wav2Lip(width=0.125)
    return LipSync(generator, torch.device("cpu"), lambda batch_size, compat: ScriptedDetector(boxes))


def color_lipsync() -> LipSync:
    """A thin random generator and a ColorDetector."""
    return LipSync(Wav2Lip(width=0.125), torch.device("cpu"), lambda batch_size, compat: ColorDetector())


def silent_windows(frames: int) -> InferenceWindows:
    """Mel windows of silence."""
    return InferenceWindows(np.full((80, 16), -4, np.float32), np.zeros(frames, np.int64))


def locate(locator: FaceLocator, frames: Iterable[np.ndarray]) -> Iterable[LocatedFrame]:
    """Run both stages of a locator."""
    return locator.select(locator.detect(frames))


def play(source: Source, boxes: Sequence[Box | None], length: int, fit="loop", short="trim"):
    """Run the timeline of a source with precomputed boxes for each frame."""
    decoded = decode(source)
    located = locate(PrecomputedBoxes(lambda: boxes), first_frames(decoded, length))
    yield from fill_timeline(located, decoded, source, length, fit, short)
    decoded.close()


def generate(
    items: Iterable[FrameItem],
    windows: MelWindows,
    generator,
    batch_size: int,
    blend: Blend,
    silence: SilenceControl | None = None,
    align: Align = keep_roll,
) -> Generator[FrameItem, None, None]:
    """Run the stages align, generate and blend."""
    aligned = align_faces(items, align, generator.resolution, batch_size)
    first_row = int(blend.unused * generator.resolution)
    return blend_faces(generate_faces(aligned, [windows], generator, silence, first_row), blend)
