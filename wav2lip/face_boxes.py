"""Where the face is in every frame of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from face_detection import Detector, Face
from face_detection.tracks import fill_gaps, follow, smooth, smooth_public
from wav2lip.crops import Pads, pad_boxes, whole_pixels
from wav2lip.errors import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels, right and bottom exclusive
Advance = Callable[[int], object]  # told how many more frames are done


def detect_faces(detector: Detector, frames: Iterable[np.ndarray], batch_size: int, advance: Advance) -> tuple[
    list[list[Face]], tuple[int, int]
]:  # fmt: skip
    """The faces of each frame, a batch of frames in memory at a time, and the frames' height and width."""
    faces: list[list[Face]] = []
    size = (0, 0)
    for batch in in_batches(frames, batch_size):
        faces += detector.detect(batch)
        size = batch[0].shape[:2]
        advance(len(batch))
    return faces, size


def in_batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Lists of `size` frames, the last one shorter; each is emptied when the next is asked for."""
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch.clear()  # now, or the frames of two batches would be held
    if batch:
        yield batch


def boxes_to_paint(
    faces: Sequence[Sequence[Face]], pads: Pads, size: tuple[int, int], smoothed: bool
) -> list[Box | None]:
    """One box a frame, None where there is no face: followed, short gaps filled, padded, smoothed.

    size: height and width of the frames.
    """
    boxes, _ = fill_gaps(follow(faces))
    boxes = pad_boxes(boxes, pads, *size)
    return whole_pixels(smooth(boxes) if smoothed else boxes, *size)


def boxes_to_paint_public(
    faces: Sequence[Sequence[Face]], pads: Pads, size: tuple[int, int], smoothed: bool
) -> list[Box | None]:
    """The release's boxes: the most certain face of each frame, smoothed with the boxes after it.

    Raises: InputError if a frame has no face.
    """
    boxes = follow(faces, compat="public")
    missing = np.flatnonzero(np.isnan(boxes).any(axis=1))
    if len(missing):
        raise InputError(no_face_in(missing[0], "--compat public"))
    padded = pad_boxes(boxes.astype(np.int64), pads, *size)
    return whole_pixels((smooth_public(padded) if smoothed else padded).astype(np.float64), *size)


def no_face_in(frame: int, demanded_by: str) -> str:
    """The sentence for a frame without a face, where a flag demands one."""
    return f"frame {frame}: no face found; give a --box, another video, or leave out {demanded_by}"
