"""Face boxes of a video, detected once and cached, and the crops that metrics and SyncNet v2 receive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from face_detection import Detector
from face_detection.tracking.offline_tracker import track_faces
from face_detection.tracking.tracks import FaceTrack
from wav2lip.arrays import read_array
from wav2lip.audio.windows import FPS
from wav2lip.evaluation.cache import write_array
from wav2lip.evaluation.settings import short_hash
from wav2lip.faces.boxes import Box, round_boxes
from wav2lip.faces.crops import crop_box
from wav2lip.media import read_frames

MIN_FACE_SIZE = 32  # pixels
SMOOTH_WINDOW_FRAMES = 5  # the rate of training data
# Crop for SyncNet v2, as in upstream's evaluation: sizes in half sides of the box.
BORDER_GRAY = 110  # beyond the edges of the frame
SIDE_MARGIN, BOTTOM_MARGIN = 1.4, 1.8
MEDIAN_FRAMES = 13
NUM_THUMBNAILS = 8
THUMBNAIL_SIZE = 112  # pixels


def find_boxes(video: Path, folder: Path, build: Callable[[], Detector], detector: str) -> np.ndarray:
    """Return the boxes (N, 4) float32 of the main face, at 25 fps; NaN for frames without it.

    folder: cache, by content of the video. build: builds the detector. detector: its name.
    """
    path = folder / f"{short_hash(video)}-{detector}.npy"
    if path.is_file():
        return read_array(path)
    frames = read_frames(video, FPS, on_problem=lambda _: None)
    tracks = track_faces(frames, build(), smooth_window_frames=SMOOTH_WINDOW_FRAMES)
    boxes = main_face(tracks.tracks, tracks.frames)
    write_array(path, boxes)
    return boxes


def main_face(tracks: Sequence[FaceTrack], frames: int) -> np.ndarray:
    """Return the boxes of the track with the largest total area, completed by further tracks where it is absent."""
    boxes = np.full((frames, 4), np.nan, np.float32)

    def total_area(track: FaceTrack) -> float:
        return float((track.boxes[:, 2:] - track.boxes[:, :2]).prod(axis=1).sum())

    for track in sorted(tracks, key=total_area, reverse=True):
        segment = boxes[track.start : track.stop]
        if np.isnan(segment).all():
            segment[:] = track.boxes
    return boxes


def pixel_box(box: np.ndarray, height: int, width: int) -> Box | None:
    """Return a box (4,) in pixels of a frame; None without a face, or with a face below MIN_FACE_SIZE."""
    (pixels,) = round_boxes(box[None], height, width)
    return pixels if pixels and min(pixels[2] - pixels[0], pixels[3] - pixels[1]) >= MIN_FACE_SIZE else None


def crop_faces(frames: Iterable[np.ndarray], boxes: np.ndarray | None) -> Iterator[np.ndarray | None]:
    """Yield the face of each frame, None without one; boxes: (N, 4), or None where the frame is the face."""
    for number, frame in enumerate(frames):
        if boxes is None:
            yield frame
        else:
            box = pixel_box(boxes[number], *frame.shape[:2]) if number < len(boxes) else None
            yield None if box is None else crop_box(frame, box)


def crop_heads(frames: Iterable[np.ndarray], boxes: np.ndarray) -> Iterator[np.ndarray | None]:
    """Yield the square around each face that upstream's evaluation crops for SyncNet v2; None without a face."""
    from scipy.signal import medfilt  # takes half a second to import

    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2
    track = np.stack([half, boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)])  # size and center, (3, N)
    present = np.isfinite(track).all(axis=0)
    if present.any():
        numbers = np.flatnonzero(present)
        interpolated = np.stack([np.interp(np.arange(len(half)), numbers, row[present]) for row in track])
        track = np.stack([medfilt(row, MEDIAN_FRAMES) for row in interpolated])
    for number, frame in enumerate(frames):
        if number >= len(present) or not present[number]:
            yield None
            continue
        size, x, y = track[:, number]
        margin = int(size * 2 * SIDE_MARGIN) + 1
        bordered = cv2.copyMakeBorder(
            frame, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(BORDER_GRAY, BORDER_GRAY, BORDER_GRAY)
        )
        top, left = int(y - size) + margin, int(x - size * SIDE_MARGIN) + margin
        height, width = int(size * (1 + BOTTOM_MARGIN)), int(size * 2 * SIDE_MARGIN)
        yield bordered[max(0, top) : top + height, max(0, left) : left + width]


class Thumbnails:
    """Evenly spaced faces of a video, side by side."""

    def __init__(self, frames: int):
        """frames: expected number of frames."""
        self._numbers = set(np.linspace(0, max(0, frames - 1), NUM_THUMBNAILS + 2).astype(int)[1:-1].tolist())
        self._images: list[np.ndarray] = []

    def add(self, number: int, face: np.ndarray) -> None:
        """Add the face (h, w, 3) of a frame, if the frame is selected."""
        if number in self._numbers:
            size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
            self._images.append(cv2.resize(face, size, interpolation=cv2.INTER_AREA))

    def image(self) -> np.ndarray | None:
        """Return the faces side by side, (112, 112 * n, 3) uint8 RGB, n <= 8; None without any."""
        return np.concatenate(self._images, axis=1) if self._images else None
