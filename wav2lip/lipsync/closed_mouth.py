"""How a person looks with a closed mouth: looked for in the beginning of the video, when it is first needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from face_detection import Detector, Face
from face_detection.looks import View
from wav2lip.batches import in_batches
from wav2lip.crops import Pads, cut, pad_boxes, resize, whole_pixels
from wav2lip.lipsync.likeness import ALIKE, appearance
from wav2lip.lipsync.shown import Box, Shown, Target
from wav2lip.lipsync.stream import IsCancelled, never, watched
from wav2lip.lipsync.timeline import Source
from wav2lip.lipsync.turning import ViewOf, as_it_is

# Lips close for every p, b and m: some of the looks of ten seconds see it, whatever is said.
SURVEYED = 240  # frames from the beginning of the source
EVERY = 6  # frames from look to look, 40 frames in all
AT_A_TIME = 8  # frames
KEPT = 40  # looks, of all people
FACE = 80  # pixels: height of the target's face in the pictures that the landmarker is given
SMALLER = 0.5  # of a face's height: one below that is looked for anew, in larger pictures
AROUND = 0.5  # of a box, added on each side where the middle of the face is accepted: it was elsewhere in other frames
OTHER_SIZE = 2.0  # times larger or smaller in area: another person

PATCH = 64  # pixels of the patch of a mouth that is judged
PATCH_SIDE = 1.2  # of it, in distances from the eyes to the mouth
LIPS = np.s_[14:44, 18:46]  # of the patch, whose mouth corners are on row 21
SMOOTHING = 1.0  # pixels of the patch
DARK = 0.55  # of the median brightness: darker than lips, an open mouth


@dataclass(frozen=True, eq=False)
class Look:
    """A face in one of the frames that are looked at."""

    frame: int  # of those looked at
    face: Face  # in pixels of the frame
    crop: np.ndarray  # (R, R, 3) uint8, as the generator takes it
    likeness: np.ndarray  # description of the crop, see `likeness.appearance`
    contrast: float  # see `lip_contrast`


class ClosedMouths:
    """The most closed mouth of each person of a source, whose beginning is looked at once for all of them."""

    def __init__(
        self, source: Source, landmarker: Callable[[], Detector | None], pads: Pads | None, resolution: int,
        cancelled: IsCancelled = never, view_of: ViewOf = as_it_is,
    ):  # fmt: skip
        """landmarker: gives a detector that gives landmarks, None if there is none to be had.

        pads: of the boxes; None: all targets have the same, fixed box. resolution: of the crops.
        view_of: as faces are painted, so that the crops are alike.
        """
        self._source, self._landmarker, self._pads, self._resolution = source, landmarker, pads, resolution
        self._cancelled, self._view_of = cancelled, view_of
        self._looks: list[Look] = []
        self._smallest = math.inf  # pixels: height of a face, from which on faces were looked for
        self._picked: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}  # by person: for whose likeness, what

    def __call__(self, target: Target, crop: np.ndarray) -> np.ndarray | None:
        """The target's person with the mouth shut.

        crop: (R, R, 3) uint8 of the target, by which the person is known.
        Returns: such a crop; None if nobody like that was seen about where the target is.
        Raises: Cancelled.
        """
        if self._source.static:
            return None
        described = appearance(crop)
        picked = self._picked.get(target.person)
        if picked is None or described @ picked[0] < ALIKE:  # in a fixed box, another may sit after a cut
            picked = self._picked[target.person] = described, self._pick(target.box, described)
        return picked[1]

    def _pick(self, box: Box, described: np.ndarray) -> np.ndarray | None:
        height = box[3] - box[1]
        if height < self._smallest:
            self._looks, self._smallest = self._survey(box if self._pads is None else None, height), SMALLER * height
        nearest: dict[int, Look] = {}  # by frame
        for look in self._looks:
            if described @ look.likeness >= ALIKE and is_about(look.face, box):
                other = nearest.get(look.frame)
                if other is None or distance(look.face, box) < distance(other.face, box):
                    nearest[look.frame] = look
        closed = min(nearest.values(), key=lambda look: look.contrast, default=None)
        return None if closed is None else closed.crop

    def _survey(self, fixed: Box | None, height: int) -> list[Look]:
        """All faces of the frames that are looked at, KEPT of them where there are more.

        height: pixels, of the face that they are looked at for.
        """
        landmarker = self._landmarker()
        kept: list[Look] = []
        if landmarker is None:
            return kept
        with closing(self._source.frames()) as frames:
            every = islice(watched(frames, self._cancelled), 0, SURVEYED, EVERY)
            for first, batch in enumerate(in_batches(every, AT_A_TIME)):
                view = View(landmarker, round(max(batch[0].shape) * min(1.0, FACE / height)))
                for number, (frame, faces) in enumerate(zip(batch, view.whole(batch), strict=True)):
                    for look in self._looks_of(first * AT_A_TIME + number, frame, faces, fixed):
                        kept.append(look)
                        if len(kept) > KEPT:
                            kept.remove(superfluous(kept))
        return kept

    def _looks_of(self, number: int, frame: np.ndarray, faces: list[Face], fixed: Box | None) -> Iterator[Look]:
        for face in faces:
            place = padded(face, self._pads, frame.shape) if self._pads is not None else fixed
            if place is None or face.landmarks is None or (fixed is not None and not is_about(face, fixed)):
                continue
            landmarks = np.array(face.landmarks, np.float32)
            view = self._view_of(Shown(number, frame, []), Target(place, landmarks))
            crop = resize(cut(view.shown.frame, view.target.box), self._resolution, self._resolution)
            yield Look(number, face, crop, appearance(crop), lip_contrast(frame, landmarks))


def superfluous(looks: list[Look]) -> Look:
    """The most open mouth of whoever was seen most often: the one that is missed least."""
    described = np.stack([look.likeness for look in looks])
    alike = described @ described.T >= ALIKE
    often = alike[alike.sum(axis=1).argmax()]
    return max((look for look, one in zip(looks, often, strict=True) if one), key=lambda look: look.contrast)


def is_about(face: Face, box: Box) -> bool:
    """Whether a face may be that of a box in another frame, by its size and place."""
    left, top, right, bottom = box
    x, y = middle(face.box)
    across, down = AROUND * (right - left), AROUND * (bottom - top)
    near = left - across <= x <= right + across and top - down <= y <= bottom + down
    return near and 1 / OTHER_SIZE < face.area / ((right - left) * (bottom - top)) < OTHER_SIZE


def distance(face: Face, box: Box) -> float:
    """Pixels from the middle of a face to that of a box."""
    return float(np.linalg.norm(np.subtract(middle(face.box), middle(box))))


def middle(box: tuple[float, float, float, float]) -> tuple[float, float]:
    """x and y, in pixels."""
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def padded(face: Face, pads: Pads, shape: tuple[int, ...]) -> Box | None:
    """The box of a face as one is cut out, None if nothing of it lies in a frame of that shape."""
    height, width = shape[:2]
    return whole_pixels(pad_boxes(np.array([face.box]), pads, height, width), height, width)[0]


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
