"""Ways to know where the faces are that get new lips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from face_detection import Detector, Face
from face_detection.tracks import fill_gaps, follow, smooth, smooth_public
from wav2lip.batches import in_batches
from wav2lip.crops import pad_boxes, whole_pixels
from wav2lip.errors import InputError
from wav2lip.lipsync.options import Options
from wav2lip.lipsync.shown import Box, Target
from wav2lip.lipsync.timeline import Finder, Found


def fixed(box: tuple[int, int, int, int]) -> Finder:
    """One face that stays where it is; box: top, bottom, left, right in pixels.

    The finder raises InputError if that does not lie in the frame.
    """
    top, bottom, left, right = box
    targets = [Target((left, top, right, bottom))]

    def find(frames: Iterable[np.ndarray]) -> Iterator[Found]:
        for frame in frames:
            height, width = frame.shape[:2]
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise InputError(
                    f"--box {top} {bottom} {left} {right} (top bottom left right) does not lie in a frame of "
                    f"{width} x {height}"
                )
            yield frame, targets

    return find


def known(boxes: Sequence[Box | None]) -> Finder:
    """One face whose box in each frame is known, None where there is none."""

    def find(frames: Iterable[np.ndarray]) -> Iterator[Found]:
        return ((frame, [] if box is None else [Target(box)]) for frame, box in zip(frames, boxes, strict=False))

    return find


def found_boxes(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, options: Options, path: object
) -> list[Box | None]:
    """One box a frame, None where there is no face: followed, short gaps filled, padded, smoothed.

    Raises: InputError if there is no face at all, or with strict if one frame has none.
    """
    faces, size = _detected(frames, detector, batch_size)
    filled, _ = fill_gaps(follow(faces))
    padded = pad_boxes(filled, options.pads, *size)
    boxes = whole_pixels(smooth(padded) if options.smooth else padded, *size)
    if all(box is None for box in boxes):
        if any(faces):
            raise InputError(f"--pads leave nothing of the face boxes of {path}; give larger ones")
        raise InputError(f"{path}: no face found in any of its {len(boxes)} frames; give a --box or another")
    if options.strict and None in boxes:
        raise InputError(_no_face_in(boxes.index(None), "--strict"))
    return boxes


def public_boxes(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int, options: Options
) -> list[Box | None]:
    """The release's boxes: the most certain face of each frame, smoothed with the boxes after it.

    Raises: InputError if a frame has no face.
    """
    faces, size = _detected(frames, detector, batch_size)
    boxes = follow(faces, compat="public")
    missing = np.flatnonzero(np.isnan(boxes).any(axis=1))
    if len(missing):
        raise InputError(_no_face_in(missing[0], "--compat public"))
    padded = pad_boxes(boxes.astype(np.int64), options.pads, *size)
    return whole_pixels((smooth_public(padded) if options.smooth else padded).astype(np.float64), *size)


def _detected(
    frames: Iterable[np.ndarray], detector: Detector, batch_size: int
) -> tuple[list[list[Face]], tuple[int, int]]:
    """The faces of each frame, a batch of frames in memory at a time, and the frames' height and width."""
    faces: list[list[Face]] = []
    size = (0, 0)
    for batch in in_batches(frames, batch_size):
        faces += detector.detect(batch)
        size = batch[0].shape[:2]
    return faces, size


def _no_face_in(frame: int, demanded_by: str) -> str:
    """The sentence for a frame without a face, where a flag demands one."""
    return f"frame {frame}: no face found; give a --box, another video, or leave out {demanded_by}"
