"""How a person looks with a closed mouth: looked for in the beginning of the video, when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

import cv2
import numpy as np

from face_detection import Detector, Face
from wav2lip.batches import in_batches
from wav2lip.crops import Pads, cut, pad_boxes, resize, whole_pixels
from wav2lip.lipsync.shown import Box, Target
from wav2lip.lipsync.timeline import Source

# Lips close for every p, b and m: some of the looks of ten seconds see it, whatever is said.
SURVEYED = 240  # frames from the beginning of the source
EVERY = 6  # frames from look to look, 40 looks in all
AT_A_TIME = 8  # looks
AROUND = 0.5  # of a face's box, added on each side where the face is looked for: it was elsewhere in other frames
LOOK_SIDE = 200  # pixels: larger surroundings are shrunk for detection
OTHER_SIZE = 2.0  # times larger or smaller in area: another person

PATCH = 64  # pixels of the patch of a mouth that is judged
PATCH_SIDE = 1.2  # of it, in distances from the eyes to the mouth
LIPS = np.s_[14:44, 18:46]  # of the patch, whose mouth corners are on row 21
SMOOTHING = 1.0  # pixels of the patch
DARK = 0.55  # of the median brightness: darker than lips, an open mouth


class ClosedMouths:
    """The most closed mouth of each person of a source."""

    def __init__(self, source: Source, detector: Callable[[], Detector], pads: Pads | None, resolution: int):
        """detector: builds one that gives landmarks. pads: of the boxes; None: those are fixed.

        resolution: of the crops.
        """
        self._source, self._detector, self._pads, self._resolution = source, detector, pads, resolution
        self._found: dict[int, np.ndarray | None] = {}

    def __call__(self, target: Target) -> np.ndarray | None:
        """(R, R, 3) uint8 crop of the target's person; None if no look finds the face where the target is."""
        if target.person not in self._found:
            self._found[target.person] = None if self._source.static else self._survey(target.box)
        return self._found[target.person]

    def _survey(self, box: Box) -> np.ndarray | None:
        best, crop = np.inf, None
        for frame, face in self._looks(box):
            assert face.landmarks is not None
            contrast = lip_contrast(frame, np.array(face.landmarks))
            place = box if self._pads is None else padded(face, self._pads, frame.shape)
            if place is not None and contrast < best:
                best, crop = contrast, resize(cut(frame, place), self._resolution, self._resolution)
        return crop

    def _looks(self, box: Box) -> Iterator[tuple[np.ndarray, Face]]:
        """Frames with the face that is about where the box is, its coordinates those of the frame."""
        detector = self._detector()
        area = (box[2] - box[0]) * (box[3] - box[1])
        with closing(self._source.frames()) as frames:
            for batch in in_batches(islice(frames, 0, SURVEYED, EVERY), AT_A_TIME):
                left, top, right, bottom = around(box, batch[0].shape)
                scale = min(1.0, LOOK_SIDE / max(right - left, bottom - top))
                size = round((right - left) * scale), round((bottom - top) * scale)
                small = [
                    cv2.resize(frame[top:bottom, left:right], size, interpolation=cv2.INTER_AREA) for frame in batch
                ]
                for frame, faces in zip(batch, detector.detect(small), strict=True):
                    marked = (moved(face, 1 / scale, left, top) for face in faces if face.landmarks is not None)
                    alike = [face for face in marked if 1 / OTHER_SIZE < face.area / area < OTHER_SIZE]
                    if alike:
                        yield frame, max(alike, key=lambda face: face.area)


def around(box: Box, shape: tuple[int, ...]) -> Box:
    """A box grown on all sides, within a frame of that shape."""
    left, top, right, bottom = box
    across, down = round(AROUND * (right - left)), round(AROUND * (bottom - top))
    return max(0, left - across), max(0, top - down), min(shape[1], right + across), min(shape[0], bottom + down)


def padded(face: Face, pads: Pads, shape: tuple[int, ...]) -> Box | None:
    """The box of a face as one is cut out, None if nothing of it lies in a frame of that shape."""
    height, width = shape[:2]
    return whole_pixels(pad_boxes(np.array([face.box]), pads, height, width), height, width)[0]


def moved(face: Face, scale: float, left: float, top: float) -> Face:
    """A face of a part of a picture in the coordinates of the picture."""
    a, b, c, d = (value * scale for value in face.box)
    assert face.landmarks is not None
    points = tuple((x * scale + left, y * scale + top) for x, y in face.landmarks)
    return Face((a + left, b + top, c + left, d + top), face.score, points)


def lip_contrast(frame: np.ndarray, landmarks: np.ndarray) -> float:
    """How much there is to see between and around the lips: least where they are closed.

    frame: (H, W, 3) uint8. landmarks: (5, 2).
    Returns: mean |difference between rows| of the mouth's patch, turned upright, and how much darker than DARK it is in
        the mean, in shares of its median brightness. Teeth show in the one, a small dark opening in the other.
    """
    patch = mouth_patch(frame, landmarks)
    grey = cv2.GaussianBlur(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), SMOOTHING)
    lips = grey[LIPS] / max(1.0, float(np.median(grey)))
    return float(np.abs(np.diff(lips, axis=0)).mean() + np.maximum(DARK - lips, 0).mean())


def mouth_patch(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The mouth of a face, turned upright: (PATCH, PATCH, 3) uint8, from cheek to cheek and from nose to chin."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = (mouth - eyes) * PATCH_SIDE / PATCH  # of one pixel of the patch
    across = np.array([down[1], -down[0]])
    corner = mouth - PATCH / 2 * across - PATCH / 3 * down
    to_frame = np.column_stack([across, down, corner])
    return cv2.warpAffine(frame, to_frame, (PATCH, PATCH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
