"""Enhancement stage: restores faces, whole frames or both."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.engine.options import OutputOptions
from wav2lip.errors import InputError
from wav2lip.faces.crops import resample
from wav2lip.faces.landmark_alignment import ALIGNED_SIZE, crop_aligned, estimate_alignment, paste_aligned
from wav2lip.restoration.models import Restorer, load_restorer
from wav2lip.types import PathType


@dataclass(frozen=True)
class Enhancer:
    """Restore the frames of a request."""

    faces: Restorer | None  # applied to each aligned face
    background: Restorer | None  # applied to the whole frame, faces included
    strength: float  # weight of the restored image in the result, 0 to 1
    upscale: bool  # return frames at the background restorer's output size instead of downscaling them

    def __call__(self, items: Iterable[FrameItem]) -> Generator[FrameItem, None, None]:
        """Yield the restored frames."""
        for item in items:
            original = item.frame
            if self.background is not None:
                item.frame = self._restore_frame(original, self.background)
            scale = item.frame.shape[0] // original.shape[0]
            if self.faces is not None and item.targets:
                self._restore_faces(original, item.frame, item.targets, self.faces, scale)
            if scale != 1:
                item.targets = [_scale_target(target, scale) for target in item.targets]
            yield item

    def _restore_frame(self, frame: np.ndarray, restore: Restorer) -> np.ndarray:
        """Return a new frame, `restore.scale` times as large with `upscale`."""
        (restored,) = restore(frame[None])
        height, width = frame.shape[:2]
        if self.upscale:
            frame = resample(frame, *restored.shape[1::-1])
        elif restore.scale != 1:
            restored = resample(restored, width, height)
        return cv2.addWeighted(restored, self.strength, frame, 1 - self.strength, 0)

    def _restore_faces(
        self, original: np.ndarray, frame: np.ndarray, targets: Iterable[FaceTarget], restore: Restorer, scale: int
    ) -> None:
        """Restore the faces of the original frame and blend them into `frame`, which is `scale` times as large."""
        matrices = [estimate_alignment(target) for target in targets]
        faces = restore(np.stack([crop_aligned(original, matrix) for matrix in matrices]))
        for matrix, face in zip(matrices, faces, strict=True):
            if len(face) != ALIGNED_SIZE:
                face = resample(face, ALIGNED_SIZE, ALIGNED_SIZE)
            paste_aligned(frame, face, _scale_matrix(matrix, scale), self.strength)


class RestorerCache:
    """Restorers on a device, by file; a file is loaded again after it was modified."""

    def __init__(self, device: torch.device):
        self._load = lru_cache(maxsize=2)(lambda path, _version: load_restorer(path, device))

    def get(self, path: PathType) -> Restorer:
        """Return a restorer. Raises: InputError if the file cannot be used."""
        return self._load(Path(path), _file_version(Path(path)))


def load_enhancer(options: OutputOptions, restorers: RestorerCache) -> Enhancer:
    """Load the networks of the options. Raises: InputError if a file cannot be used."""
    faces, background = (
        None if path is None else restorers.get(path) for path in (options.enhancer, options.background_enhancer)
    )
    if background is not None and background.faces_only:
        raise InputError(f"{options.background_enhancer}: restores faces only; use it as --enhancer")
    return Enhancer(faces, background, options.enhancer_strength, options.upscale)


def _file_version(path: Path) -> tuple[int, int] | None:
    """Return modification time and size; None for a missing file, which is reported when it is loaded."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _scale_matrix(matrix: np.ndarray, scale: int) -> np.ndarray:
    """Return the same transform from a frame that is `scale` times as large; pixel coordinates are of centers."""
    linear = matrix[:, :2] / scale
    return np.column_stack([linear, matrix[:, 2] + matrix[:, :2] @ np.full(2, 0.5 / scale - 0.5)])


def _scale_target(target: FaceTarget, scale: int) -> FaceTarget:
    """Return the target in a frame that is `scale` times as large."""
    left, top, right, bottom = (side * scale for side in target.box)
    landmarks = None if target.landmarks is None else (target.landmarks + 0.5) * scale - 0.5
    return FaceTarget((left, top, right, bottom), landmarks, target.person)
