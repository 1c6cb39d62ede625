"""Where the face is in every frame of a video, found once and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from face_detection import Detector
from face_detection.sparse import track_faces
from face_detection.tracks import FaceTrack
from wav2lip.crops import cut, whole_pixels
from wav2lip.evaluation.settings import digest
from wav2lip.media import read_frames
from wav2lip.windows import FPS

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
SMALLEST = 32  # pixels: a smaller face is none
SMOOTH = 5  # frames over which boxes are averaged, as in training data
BORDER = 110  # grey beyond the edge of a frame, and
# its crop to the sides and downwards, in half sides of the box: as the public evaluation cuts for SyncNet v2
WIDER, HIGHER = 1.4, 1.8
MEDIAN = 13  # frames


def boxes_of(video: Path, folder: Path, detector: Callable[[], Detector], name: str) -> np.ndarray:
    """Boxes (N, 4) float32 of the one face that is followed, at 25 frames a second; NaN where there is none.

    folder: where they are kept, by the video's content. name: the detector's.
    """
    kept = folder / f"{digest(video)}-{name}.npy"
    if kept.is_file():
        return np.load(kept)
    tracks = track_faces(read_frames(video, FPS, on_problem=lambda _: None), detector(), smooth_window=SMOOTH)
    boxes = one_face(tracks.tracks, tracks.frames)
    folder.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{kept.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, boxes)
    os.replace(partial, kept)
    return boxes


def one_face(tracks: Sequence[FaceTrack], frames: int) -> np.ndarray:
    """The face that takes most of the video (area times frames), and where it is away the next one."""
    boxes = np.full((frames, 4), np.nan, np.float32)

    def amount(track: FaceTrack) -> float:
        return float((track.boxes[:, 2:] - track.boxes[:, :2]).prod(axis=1).sum())

    for track in sorted(tracks, key=amount, reverse=True):
        there = boxes[track.start : track.stop]
        if np.isnan(there).all():
            there[:] = track.boxes
    return boxes


def pixels_of(box: np.ndarray, height: int, width: int) -> Box | None:
    """A box (4,) within a frame of this size; None without a face, or with a smaller one than can be judged."""
    (found,) = whole_pixels(box[None], height, width)
    return found if found and min(found[2] - found[0], found[3] - found[1]) >= SMALLEST else None


def cut_faces(frames: Iterable[np.ndarray], boxes: np.ndarray | None) -> Iterator[np.ndarray | None]:
    """The face in each frame, None where there is none; boxes: (N, 4), or None where the frame is the face."""
    for number, frame in enumerate(frames):
        if boxes is None:
            yield frame
        else:
            box = pixels_of(boxes[number], *frame.shape[:2]) if number < len(boxes) else None
            yield None if box is None else cut(frame, box)


def cut_heads(frames: Iterable[np.ndarray], boxes: np.ndarray) -> Iterator[np.ndarray | None]:
    """The square around each face that the public evaluation shows SyncNet v2 of a real video; None without a face."""
    from scipy.signal import medfilt  # half a second to import

    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2
    track = np.stack([half, boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)])  # size and centre, (3, N)
    seen = np.isfinite(track).all(axis=0)
    if seen.any():
        known = np.flatnonzero(seen)
        filled = np.stack([np.interp(np.arange(len(half)), known, row[seen]) for row in track])
        track = np.stack([medfilt(row, MEDIAN) for row in filled])
    for number, frame in enumerate(frames):
        if number >= len(seen) or not seen[number]:
            yield None
            continue
        size, x, y = track[:, number]
        reach = int(size * 2 * WIDER) + 1
        bordered = cv2.copyMakeBorder(
            frame, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(BORDER, BORDER, BORDER)
        )
        top, left = int(y - size) + reach, int(x - size * WIDER) + reach
        side_y, side_x = int(size * (1 + HIGHER)), int(size * 2 * WIDER)
        yield bordered[max(0, top) : top + side_y, max(0, left) : left + side_x]
