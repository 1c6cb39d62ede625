"""Where the face is in each frame of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from face_detection import Detector, Face
from face_detection.tracks import fill_gaps, follow, smooth
from preprocess.settings import Settings
from wav2lip.crops import whole_pixels
from wav2lip.face_boxes import in_batches

BATCH_BYTES = 256_000_000  # frames held at a time, however many a batch may have


@dataclass(frozen=True)
class FaceBoxes:
    """One face through a video of N frames."""

    boxes: np.ndarray  # (N, 4) float32: left, top, right, bottom in pixels; NaN where there is no face
    scores: np.ndarray  # (N,) float32: detector confidence in [0, 1]; NaN where there is no face or it was filled in
    filled: np.ndarray  # (N,) bool: boxes put in between two detections
    height: int  # of a frame, in pixels
    width: int

    def slices(self) -> list[tuple[int, int, int, int] | None]:
        """The boxes in whole pixels, within the frame; None where there is nothing to cut."""
        return whole_pixels(self.boxes, self.height, self.width)


def find_boxes(
    frames: Iterable[np.ndarray],
    detector: Detector,
    settings: Settings,
    batch_size: int,
    progress: Callable[[int], object] = lambda frames: None,
) -> FaceBoxes | None:
    """Detect faces in every frame and follow one; None if there is no frame at all.

    frames: (H, W, 3) uint8 RGB, all of one size; only a batch of them is held at a time.
    progress: called with the number of frames done so far.
    """
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        return None
    batch_size = min(batch_size, max(1, BATCH_BYTES // first.nbytes))
    detections: list[list[Face]] = []
    for batch in in_batches(chain([first], rest), batch_size):
        detections.extend(detector.detect(batch))
        progress(len(detections))
    height, width = first.shape[:2]
    return _one_face(detections, settings, height, width)


def _one_face(detections: list[list[Face]], settings: Settings, height: int, width: int) -> FaceBoxes:
    boxes = follow(detections, compat=settings.compat)
    scores = np.array([_score(box, faces) for box, faces in zip(boxes, detections, strict=True)], np.float32)
    filled = np.zeros(len(boxes), bool)
    if settings.compat != "public":
        boxes, filled = fill_gaps(boxes, settings.longest_gap)
        boxes = smooth(boxes, settings.smooth_window)
    return FaceBoxes(boxes, scores, filled, height, width)


def _score(box: np.ndarray, faces: list[Face]) -> float:
    """The score of the face that a box was taken from."""
    if not faces or np.isnan(box).any():
        return np.nan
    return min(faces, key=lambda face: float(np.abs(np.array(face.box) - box).sum())).score
