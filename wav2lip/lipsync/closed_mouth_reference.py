"""Reference with a closed mouth for each person, found in the first frames of the video when first needed."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch

from face_detection import Detector, DetectorError, Face, build_detector
from face_detection.tracking.adaptive_sampling import DetectionSampler
from wav2lip.engine.interface import FaceTarget, FrameItem, IsCancelled, Source, never
from wav2lip.engine.result_stream import cancellable
from wav2lip.faces.appearance_descriptor import SIMILARITY_THRESHOLD, describe_appearance
from wav2lip.faces.boxes import Box, Pads, pad_boxes, round_boxes
from wav2lip.faces.crops import crop_box, resize
from wav2lip.faces.mouth_patch import mouth_patch
from wav2lip.faces.roll_alignment import Align, keep_roll
from wav2lip.media.video import batch_frames

logger = logging.getLogger(__name__)

# Lips close for every p, b and m, so some frames of ten seconds of speech have a closed mouth.
SEARCH_FRAMES = 240  # from the start of the source
SEARCH_INTERVAL_FRAMES = 6  # 40 frames in all
BATCH_SIZE = 8  # frames
MAX_CANDIDATES = 40  # total of all persons
FACE_HEIGHT_PIXELS = 80  # size of the target's face in the landmark detector's input
NEW_SEARCH_SHARE = 0.5  # a target smaller than this share of the searched height triggers a search in larger images
SEARCH_MARGIN = 0.5  # share of a box by which the center of a face in another frame may be outside it
MAX_AREA_RATIO = 2.0  # limit for the faces of one person in different frames

LIPS = np.s_[14:44, 18:46]  # part of the patch, whose mouth corners are on row 21
BLUR_SIGMA_PIXELS = 1.0  # pixels of the patch
DARK_SHARE = 0.55  # share of the median brightness; an open mouth is darker


@dataclass(frozen=True, eq=False)
class Candidate:
    """A face in one of the searched frames."""

    frame: int  # index among the searched frames
    face: Face  # box in pixels of the frame
    crop: np.ndarray  # (R, R, 3) uint8, as the generator's input
    descriptor: np.ndarray  # see `describe_appearance`
    contrast: float  # see `lip_contrast`


@dataclass(frozen=True)
class MouthState:
    """References found up to some frame, from which another process continues."""

    references: dict[int, tuple[np.ndarray, np.ndarray | None]]  # descriptor and crop by person
    search: tuple[Box | None, int] | None  # arguments of the last `collect_candidates`


class LazyLandmarkDetector:
    """MTCNN, built when first needed; thread-safe."""

    def __init__(self, device: torch.device):
        self._device = device
        self._lock = threading.Lock()
        self._detector: Detector | None = None

    def __call__(self) -> Detector | None:
        """Return the detector; None, with a warning, if it is unavailable."""
        with self._lock:
            if self._detector is None:
                try:
                    self._detector = build_detector("mtcnn", device=self._device, batch_size=BATCH_SIZE)
                except DetectorError as error:
                    logger.warning("no search for closed mouths, only the audio is faded in pauses: %s", error)
            return self._detector


class ClosedMouthReference:
    """The most closed mouth of each person of a source; its start is searched once for all persons."""

    def __init__(
        self, source: Source, landmark_detector: Callable[[], Detector | None], pads: Pads | None, resolution: int,
        is_cancelled: IsCancelled = never, align: Align = keep_roll,
    ):  # fmt: skip
        """landmark_detector: returns a detector with landmarks, None if there is none.
        pads: of the boxes; None if all targets have the same fixed box. resolution: of the crops.
        align: as for the generator's input.
        """
        self._source, self._landmark_detector = source, landmark_detector
        self._pads, self._resolution = pads, resolution
        self._is_cancelled, self._align = is_cancelled, align
        self._candidates: list[Candidate] | None = None  # of the last search; None: not collected
        self._search: tuple[Box | None, int] | None = None  # its arguments
        self._min_height = math.inf  # pixels: faces of at least this height have been searched
        self._references: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}  # person: descriptor, reference

    def __call__(self, target: FaceTarget, crop: np.ndarray) -> np.ndarray | None:
        """Return a crop (R, R, 3) uint8 of the same person with a closed mouth.

        crop: (R, R, 3) uint8 of the target.
        Returns: None if no similar face was found near the target.
        Raises: Cancelled.
        """
        if self._source.static:
            return None
        descriptor = describe_appearance(crop)
        reference = self._references.get(target.person)
        # Compared in each frame, because in a fixed box another person may appear after a cut.
        if reference is None or descriptor @ reference[0] < SIMILARITY_THRESHOLD:
            reference = self._references[target.person] = descriptor, self._find(target.box, descriptor)
        return reference[1]

    @property
    def state(self) -> MouthState:
        """What was found so far; set it to continue from there."""
        return MouthState(dict(self._references), self._search)

    @state.setter
    def state(self, state: MouthState) -> None:
        self._references, self._search, self._candidates = dict(state.references), state.search, None
        self._min_height = math.inf if state.search is None else NEW_SEARCH_SHARE * state.search[1]

    def _find(self, box: Box, descriptor: np.ndarray) -> np.ndarray | None:
        height = box[3] - box[1]
        if height < self._min_height or self._search is None:
            self._search = (box if self._pads is None else None), height
            self._min_height, self._candidates = NEW_SEARCH_SHARE * height, None
        if self._candidates is None:
            self._candidates = self.collect_candidates(*self._search)
        nearest: dict[int, Candidate] = {}  # frame: candidate
        for candidate in self._candidates:
            if descriptor @ candidate.descriptor >= SIMILARITY_THRESHOLD and is_near(candidate.face, box):
                other = nearest.get(candidate.frame)
                if other is None or center_distance(candidate.face, box) < center_distance(other.face, box):
                    nearest[candidate.frame] = candidate
        closed = min(nearest.values(), key=lambda candidate: candidate.contrast, default=None)
        return None if closed is None else closed.crop

    def collect_candidates(self, fixed_box: Box | None, height: int) -> list[Candidate]:
        """Collect the faces of the searched frames, at most MAX_CANDIDATES.

        height: pixels, of the target's face.
        """
        detector = self._landmark_detector()
        candidates: list[Candidate] = []
        if detector is None:
            return candidates
        with closing(self._source.frames()) as frames:
            sampled = islice(cancellable(frames, self._is_cancelled), 0, SEARCH_FRAMES, SEARCH_INTERVAL_FRAMES)
            for batch_index, batch in enumerate(batch_frames(sampled, BATCH_SIZE)):
                scan_side = round(max(batch[0].shape) * min(1.0, FACE_HEIGHT_PIXELS / height))
                detections = DetectionSampler(detector, scan_side).scan(batch)
                for index, (frame, faces) in enumerate(zip(batch, detections, strict=True)):
                    for candidate in self._candidates_in(batch_index * BATCH_SIZE + index, frame, faces, fixed_box):
                        candidates.append(candidate)
                        if len(candidates) > MAX_CANDIDATES:
                            candidates.remove(most_redundant(candidates))
        return candidates

    def _candidates_in(
        self, index: int, frame: np.ndarray, faces: list[Face], fixed_box: Box | None
    ) -> Iterator[Candidate]:  # fmt: skip
        for face in faces:
            box = pad_face(face, self._pads, frame.shape) if self._pads is not None else fixed_box
            if box is None or face.landmarks is None or (fixed_box is not None and not is_near(face, fixed_box)):
                continue
            landmarks = np.array(face.landmarks, np.float32)
            aligned = self._align(FrameItem(index, frame, []), FaceTarget(box, landmarks))
            crop = resize(crop_box(aligned.item.frame, aligned.target.box), self._resolution, self._resolution)
            yield Candidate(index, face, crop, describe_appearance(crop), lip_contrast(frame, landmarks))


def most_redundant(candidates: list[Candidate]) -> Candidate:
    """Return the most open mouth of the person with the most candidates."""
    descriptors = np.stack([candidate.descriptor for candidate in candidates])
    is_similar = descriptors @ descriptors.T >= SIMILARITY_THRESHOLD
    most_frequent = is_similar[is_similar.sum(axis=1).argmax()]
    return max(
        (candidate for candidate, same in zip(candidates, most_frequent, strict=True) if same),
        key=lambda candidate: candidate.contrast,
    )


def is_near(face: Face, box: Box) -> bool:
    """Return True if a face may belong to a box in another frame, by its size and position."""
    left, top, right, bottom = box
    x, y = box_center(face.box)
    margin_x, margin_y = SEARCH_MARGIN * (right - left), SEARCH_MARGIN * (bottom - top)
    is_inside = left - margin_x <= x <= right + margin_x and top - margin_y <= y <= bottom + margin_y
    return is_inside and 1 / MAX_AREA_RATIO < face.area / ((right - left) * (bottom - top)) < MAX_AREA_RATIO


def center_distance(face: Face, box: Box) -> float:
    """Return the distance between the centers of a face and a box in pixels."""
    return float(np.linalg.norm(np.subtract(box_center(face.box), box_center(box))))


def box_center(box: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return x and y in pixels."""
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def pad_face(face: Face, pads: Pads, shape: tuple[int, ...]) -> Box | None:
    """Return the padded box of a face, None if it is outside a frame of that shape."""
    height, width = shape[:2]
    return round_boxes(pad_boxes(np.array([face.box]), pads, height, width), height, width)[0]


def lip_contrast(frame: np.ndarray, landmarks: np.ndarray) -> float:
    """Return the visible detail between and around the lips: smallest for a closed mouth.

    frame: (H, W, 3) uint8. landmarks: (5, 2).
    Returns: mean absolute difference between rows of the upright mouth patch, which grows with teeth, plus the mean
        darkness below DARK_SHARE, which grows with small openings; in shares of the median brightness.
    """
    patch = mouth_patch(frame, landmarks)
    gray = cv2.GaussianBlur(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), BLUR_SIGMA_PIXELS)
    lips = gray[LIPS] / max(1.0, float(np.median(gray)))
    return float(np.abs(np.diff(lips, axis=0)).mean() + np.maximum(DARK_SHARE - lips, 0).mean())
