"""Stages of face generation: align and crop, generate, blend. They share batches of frames."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wav2lip.audio.windows import SILENT_WINDOW, MelWindows
from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.crops import crop_box, resize
from wav2lip.faces.roll_alignment import Align, AlignedFace
from wav2lip.lipsync.blending import Blend
from wav2lip.lipsync.generator_runtime import GeneratorRuntime
from wav2lip.lipsync.silence import SilenceControl

MAX_BATCH_BYTES = 256 << 20  # 41 frames of 1920 x 1080, 10 of 3840 x 2160


@dataclass
class FaceBatch:
    """Faces that are generated together."""

    targets: Sequence[tuple[FrameItem, FaceTarget]]
    aligned: Sequence[AlignedFace]
    crops: Sequence[np.ndarray]  # (R, R, 3) uint8 RGB each
    finished: Sequence[FrameItem]  # frames without faces in later batches
    generated: Sequence[np.ndarray] = ()  # (R, R, 3) uint8 RGB each


def align_faces(
    items: Iterable[FrameItem], align: Align, resolution: int, batch_size: int
) -> Generator[FaceBatch, None, None]:  # fmt: skip
    """Crop the targets of `batch_size` frames at a time, fewer if they are large.

    align: rotates a face upright, or returns it unchanged.
    """
    for frames in _batch_items(items, batch_size):
        targets = [(item, target) for item in frames for target in item.targets]
        for first in range(0, len(targets), batch_size) or [0]:
            chunk = targets[first : first + batch_size]
            aligned = [align(item, target) for item, target in chunk]
            crops = [resize(crop_box(face.item.frame, face.target.box), resolution, resolution) for face in aligned]
            is_last = first + batch_size >= len(targets)
            yield FaceBatch(chunk, aligned, crops, frames if is_last else [])


def generate_faces(
    batches: Iterable[FaceBatch],
    voices: Sequence[MelWindows],
    generator: GeneratorRuntime,
    silence: SilenceControl | None = None,
    first_row: int = 0,
) -> Generator[FaceBatch, None, None]:
    """Run the generator on each batch.

    voices: windows of the audio of each voice; a mouth that rests gets those of silence.
    silence: modifies audio and reference while nobody speaks. first_row: first used row of a face.
    """
    for batch in batches:
        if batch.targets:
            crops = np.stack(batch.crops)
            mels = np.stack([_window(voices, item, target)[None] for item, target in batch.targets])
            references = None
            if silence is not None:
                pairs = zip(batch.targets, mels, strict=True)
                mels = np.stack([silence.fade_mel(item, target, mel) for (item, target), mel in pairs])
                faces = zip(batch.targets, crops, strict=True)
                references = np.stack([silence.reference(item, target, crop) for (item, target), crop in faces])
            batch.generated = list(generator(crops, mels, references, first_row))
        yield batch


def blend_faces(batches: Iterable[FaceBatch], blend: Blend) -> Generator[FrameItem, None, None]:
    """Blend the generated faces into their frames in place, and yield the frames."""
    for batch in batches:
        for face, crop, generated in zip(batch.aligned, batch.crops, batch.generated, strict=True):
            blend(face.item, face.target, crop, generated)
            face.paste_back()
        yield from batch.finished


def _window(voices: Sequence[MelWindows], item: FrameItem, target: FaceTarget) -> np.ndarray:
    """Return the mel window (80, 16) of a face."""
    return SILENT_WINDOW if target.voice is None else voices[target.voice][item.index]


def _batch_items(items: Iterable[FrameItem], size: int) -> Iterator[list[FrameItem]]:
    """Yield lists of `size` frames, fewer if they would exceed MAX_BATCH_BYTES."""
    batch: list[FrameItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == max(1, min(size, MAX_BATCH_BYTES // item.frame.nbytes)):
            yield batch
            batch = []
    if batch:
        yield batch
