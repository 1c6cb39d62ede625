"""The face to animate: found in a photo or in the first frame of a video that has one, with its landmarks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from face_detection import Detector, Face
from face_detection.landmarks.detector import Landmarker
from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.engine.face_selection import Selector, make_selector
from wav2lip.engine.identity_matching import make_identity_selector, match_images, match_point
from wav2lip.engine.interface import IsCancelled, Source, never
from wav2lip.engine.options import FaceSelectionOptions
from wav2lip.engine.result_stream import cancellable
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import Descriptor, describe_appearance
from wav2lip.faces.boxes import Box, round_boxes
from wav2lip.faces.redetection import redetect_face
from wav2lip.sadtalker.source.cropping import locate_face_square
from wav2lip.sadtalker.source.landmarks import five_points

MAX_SEARCHED_FRAMES = 1500  # one minute at 25 fps from the start of a video
SEARCH_INTERVAL_FRAMES = 5
DETECTION_PIXELS = 480  # larger photos are downscaled for the detector, which makes landmarks of small faces coarse
MIN_FACE_PIXELS = 48  # side of the face square; the networks see it enlarged to 256 pixels
MIN_VISIBLE_SHARE = 0.5  # share of the face square inside the photo


@dataclass(frozen=True)
class Portrait:
    """A photo and the face in it."""

    photo: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks: np.ndarray  # (68, 2) or (5, 2) float32: x and y in pixels
    box: Box | None = None  # detected face; None with landmarks of the user


class PortraitFinder:
    """Find the face that the options select."""

    def __init__(self, detector: Detector, landmarker: Landmarker | None, describe: Descriptor = describe_appearance):
        """landmarker: None for the five landmarks of the detector."""
        self.detector, self.landmarker, self.describe = detector, landmarker, describe

    def __call__(self, source: Source, options: FaceSelectionOptions, is_cancelled: IsCancelled = never) -> Portrait:
        """Return the face of the first frame that has it.

        Raises: InputError if there is no such face.
        """
        searched, present = 0, 0
        for frame in cancellable(self._searched_frames(source, options), is_cancelled):
            searched += 1
            faces = self._detect(frame)
            present = max(present, len(faces))
            selected = self._selector(frame, faces, options, source)(faces) if faces else []
            if selected:
                return self._portrait(frame, selected[0], source)
        if present:
            raise InputError(
                f"{source.path}: has {present} face{'s' if present > 1 else ''}, none of which is --faces "
                f"{options.faces}; give a number below {present}"
            )
        where = "in it" if searched == 1 else f"in {searched} frames"
        raise InputError(
            f"{source.path}: no face found {where}; use a photo with a face seen from the front, or give its landmarks "
            "with --points FILE"
        )

    def _searched_frames(self, source: Source, options: FaceSelectionOptions) -> Iterator[np.ndarray]:
        """Yield the frames to search; with a point, only the frame at its time."""
        if options.face_at is not None and not source.static:
            first = round(options.face_at[0] * source.fps)
            return source.frames(first, first + 1)
        return itertools.islice(source.frames(0, MAX_SEARCHED_FRAMES), 0, None, SEARCH_INTERVAL_FRAMES)

    def _detect(self, frame: np.ndarray) -> list[TrackedFace]:
        (faces,) = self.detector.detect([frame])
        return [
            TrackedFace(number, np.asarray(face.box, np.float32), face.score, False, _landmark_array(face))
            for number, face in enumerate(faces)
        ]

    def _selector(
        self, frame: np.ndarray, faces: Sequence[TrackedFace], options: FaceSelectionOptions, source: Source
    ) -> Selector:  # fmt: skip
        if options.face_at is not None:
            point = (0.0, *options.face_at[1:])
            matches = match_point([(frame, faces)], point, float(source.fps), self.describe, options.alike)
        elif options.face_like:
            (matches,) = match_images([(frame, faces)], options.face_like, self.detector, self.describe, options.alike)
        else:
            return make_selector(options.faces)
        return make_identity_selector(matches)

    def _portrait(self, frame: np.ndarray, face: TrackedFace, source: Source) -> Portrait:
        (box,) = round_boxes(face.box[None], *frame.shape[:2])
        if self.landmarker is not None:
            return Portrait(frame, locate_landmarks(self.landmarker, frame, face), box)
        landmarks = face.landmarks
        if max(frame.shape[:2]) > DETECTION_PIXELS:
            close = redetect_face(self.detector, frame, face.box)
            landmarks = landmarks if close is None or close.landmarks is None else _landmark_array(close)
        if landmarks is None:
            raise InputError(
                f"{source.path}: the detector {self.detector.name} finds no landmarks; use --detector mtcnn, or give "
                "them with --points FILE"
            )
        return Portrait(frame, landmarks, box)


def locate_landmarks(landmarker: Landmarker, frame: np.ndarray, face: TrackedFace) -> np.ndarray:
    """Return 68 landmarks (68, 2) float32 of a face."""
    left, top, right, bottom = face.box.tolist()
    return landmarker.locate([frame], [(left, top, right, bottom)])[0].astype(np.float32)


def _landmark_array(face: Face) -> np.ndarray | None:
    return None if face.landmarks is None else np.array(face.landmarks, np.float32)


def check_face(portrait: Portrait, path: object) -> None:
    """Raise InputError if the face is cut by the edge of the photo or too small to be animated."""
    height, width = portrait.photo.shape[:2]
    points = five_points(portrait.landmarks)
    if not ((points >= 0).all() and (points <= (width, height)).all()):
        raise InputError(
            f"{path}: the face is cut by the edge of the photo, so that eyes, nose or mouth are outside; use a photo "
            "that shows the whole face"
        )
    face = locate_face_square(portrait.landmarks, width, height)
    left, top, right, bottom = face.inner
    side = face.side
    if side < MIN_FACE_PIXELS:
        raise InputError(
            f"{path}: the face is too small, its crop has {side:.0f} pixels and needs {MIN_FACE_PIXELS}; use a larger "
            "photo"
        )
    visible = (right - left) * (bottom - top) / side**2
    if visible < MIN_VISIBLE_SHARE:
        raise InputError(
            f"{path}: the face is cut by the edge of the photo, only {visible:.0%} of its crop are inside; use a photo "
            "with more space around the face"
        )
