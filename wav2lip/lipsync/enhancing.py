"""The stage that makes finished frames sharp: faces, whole frames or both, by networks that restore pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import cv2
import numpy as np

from wav2lip.lipsync.aligning import SIZE, alignment, cut_aligned, paste_aligned
from wav2lip.lipsync.restorers import Restorer
from wav2lip.lipsync.shown import Shown, Target


def enhance(
    shown: Iterable[Shown], of_faces: Restorer | None, of_frames: Restorer | None, strength: float, upscale: bool
) -> Generator[Shown, None, None]:
    """The same frames, restored.

    of_faces: sees each face that was given lips cut out upright, and its answer goes back softly at the edges.
    of_frames: sees the whole frame, faces included unless there is one for them.
    strength: share of what was restored in the result, 0 (none) to 1.
    upscale: the frames become as large as of_frames makes them; else they are shrunk to the size they had.
    """
    for one in shown:
        before = one.frame
        if of_frames is not None:
            one.frame = _restored(before, of_frames, strength, upscale)
        scale = one.frame.shape[0] // before.shape[0]
        if of_faces is not None and one.targets:
            _restore_faces(before, one.frame, one.targets, of_faces, strength, scale)
        if scale != 1:
            one.targets = [_grown(target, scale) for target in one.targets]
        yield one


def _restored(frame: np.ndarray, restore: Restorer, strength: float, upscale: bool) -> np.ndarray:
    """A new frame, `restore.scale` times as large where that is asked for."""
    (made,) = restore(frame[None])
    height, width = frame.shape[:2]
    if upscale:
        frame = cv2.resize(frame, made.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    elif restore.scale != 1:
        made = cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.addWeighted(made, strength, frame, 1 - strength, 0)


def _restore_faces(
    seen: np.ndarray, frame: np.ndarray, targets: Iterable[Target], restore: Restorer, strength: float, scale: int
) -> None:
    """Restore the faces of a frame `seen` and put them into another in place, which is `scale` times as large."""
    matrices = [alignment(target) for target in targets]
    faces = restore(np.stack([cut_aligned(seen, matrix) for matrix in matrices]))
    for matrix, face in zip(matrices, faces, strict=True):
        if len(face) != SIZE:
            face = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        paste_aligned(frame, face, _of_larger(matrix, scale), strength)


def _of_larger(matrix: np.ndarray, scale: int) -> np.ndarray:
    """The same transform from a frame that is `scale` times as large; pixels are known by their centres."""
    turn = matrix[:, :2] / scale
    return np.column_stack([turn, matrix[:, 2] + matrix[:, :2] @ np.full(2, 0.5 / scale - 0.5)])


def _grown(target: Target, scale: int) -> Target:
    """A face of the frame that is `scale` times as large."""
    left, top, right, bottom = (side * scale for side in target.box)
    landmarks = None if target.landmarks is None else (target.landmarks + 0.5) * scale - 0.5
    return Target((left, top, right, bottom), landmarks, target.person)
