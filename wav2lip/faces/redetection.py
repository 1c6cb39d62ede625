"""Detection of a known face at its full resolution: detectors downscale large frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from face_detection import Detector, Face
from wav2lip.faces.boxes import round_boxes

CONTEXT = 1.0  # sides of the face box around it, which are searched with it


def redetect_face(detector: Detector, frame: np.ndarray, box: np.ndarray) -> Face | None:
    """Detect a face in its surroundings.

    frame: (H, W, 3) uint8 RGB. box: (4,) pixels of the frame.
    Returns: the face in pixels of the frame; None if the detector finds none that contains the center of the box.
    """
    left, top, right, bottom = box
    margin = CONTEXT * max(right - left, bottom - top)
    (region,) = round_boxes(
        np.array([[left - margin, top - margin, right + margin, bottom + margin]]), *frame.shape[:2]
    )
    if region is None:
        return None
    x, y = region[:2]
    (found,) = detector.detect([np.ascontiguousarray(frame[y : region[3], x : region[2]])])
    center = (left + right) / 2 - x, (top + bottom) / 2 - y
    inside = [face for face in found if _contains(face.box, center)]
    if not inside:
        return None
    face = max(inside, key=lambda each: each.score)
    points = None if face.landmarks is None else tuple((px + x, py + y) for px, py in face.landmarks)
    left, top, right, bottom = face.box
    return replace(face, box=(left + x, top + y, right + x, bottom + y), landmarks=points)


def _contains(box: tuple[float, float, float, float], point: tuple[float, float]) -> bool:
    left, top, right, bottom = box
    return left <= point[0] <= right and top <= point[1] <= bottom
