"""Association of detections to tracks, interpolation of short gaps, and smoothing.

`link_faces` tracks every face, `track_single_face` one. Boxes of a video are an array (N, 4) float32: left, top, right,
bottom in pixels, a row of NaN where there is no face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from face_detection.interface import Face

SAME_FACE_IOU = 0.3  # two boxes in neighboring frames that overlap more are one face
LOST_AFTER_FRAMES = 6  # without a detection, after which a track ends; shorter absences are gaps
VELOCITY_SIGHTINGS = 3  # latest detections from which a velocity is estimated

Trajectory = dict[int, Face]  # detections of one person by frame, in the order of the frames


@dataclass(frozen=True)
class FaceTrack:
    """One face in consecutive frames of one shot."""

    start: int  # index of the first frame in the video, from 0
    boxes: np.ndarray  # (N, 4) float32: left, top, right, bottom in pixels of the frame; no NaN
    scores: np.ndarray  # (N,) float32: confidence in [0, 1]; NaN where the face was not searched or not detected
    filled: np.ndarray  # (N,) bool: True in a gap, searched and not detected
    landmarks: np.ndarray | None = None  # (N, 5, 2) float32: x, y in pixels, as in `Face`; None if unavailable

    def __post_init__(self) -> None:
        frames = len(self.boxes)
        if self.boxes.shape != (frames, 4) or self.scores.shape != (frames,) or self.filled.shape != (frames,):
            shapes = f"{self.boxes.shape}, {self.scores.shape}, {self.filled.shape}"
            raise ValueError(f"boxes, scores, filled: must have one row per frame, got shapes {shapes}")
        if self.landmarks is not None and self.landmarks.shape != (frames, 5, 2):
            raise ValueError(f"landmarks: must have shape ({frames}, 5, 2), got {self.landmarks.shape}")

    @property
    def stop(self) -> int:
        """Index of the first frame after the track."""
        return self.start + len(self.boxes)


@dataclass(frozen=True)
class Tracks:
    """Tracks of every face of a video, and the amount of detection work."""

    tracks: list[FaceTrack]  # sorted by first frame, then from left to right
    frames: int  # length of the video
    height: int  # pixels of a frame; 0 if the video has no frames
    width: int
    detector_pixels: int  # sum over all images passed to the detector
    scans: int = 0  # whole frames passed to the detector
    rois: int = 0  # regions passed to the detector


class Linker:
    """Assign the faces of consecutive frames to persons.

    The assignment maximizes the total overlap of faces and predicted boxes. A face that overlaps no prediction by more
    than `SAME_FACE_IOU` starts a new person.
    """

    def __init__(self, max_gap: int):
        """max_gap: maximal frames from one detection of a person to the next."""
        self.max_gap = max_gap
        self.active: list[Trajectory] = []  # persons who may be detected again

    def add(self, frame: int, faces: Sequence[Face]) -> list[Trajectory]:
        """Add the faces of the next searched frame and return the new persons."""
        self.active = [path for path in self.active if frame - next(reversed(path)) <= self.max_gap]
        unassigned = set(range(len(faces)))
        for person, face in _assign([predict_box(path, frame) for path in self.active], faces):
            self.active[person][frame] = faces[face]
            unassigned.remove(face)
        new: list[Trajectory] = [{frame: faces[face]} for face in sorted(unassigned)]
        self.active += new
        return new


def link_faces(detections: Mapping[int, Sequence[Face]], max_gap: int) -> list[Trajectory]:
    """Assign the faces of all frames to persons, see `Linker`.

    detections: the faces of each searched frame, in any order of frames.
    """
    linker = Linker(max_gap)
    return [path for frame in sorted(detections) for path in linker.add(frame, detections[frame])]


def predict_box(path: Trajectory, frame: int) -> np.ndarray:
    """Extrapolate a person's box (4,) at constant velocity, no further than the velocity's own time base."""
    recent = list(islice(reversed(path), VELOCITY_SIGHTINGS))  # the latest first
    box = np.array(path[recent[0]].box)
    span = recent[0] - recent[-1]
    if not span:
        return box
    displacement = (box - path[recent[-1]].box).reshape(2, 2).mean(axis=0)  # of the center, because sizes are noisy
    velocity = displacement / span
    return box + np.tile(velocity * min(frame - recent[0], span), 2)


def _assign(boxes: Sequence[np.ndarray], faces: Sequence[Face]) -> list[tuple[int, int]]:
    """Return the pairs (box, face) with the largest total overlap, each box and face at most once."""
    if not boxes or not faces:
        return []
    overlaps = iou(np.array(boxes)[:, None], np.array([face.box for face in faces])[None])
    overlaps[overlaps <= SAME_FACE_IOU] = 0
    return [(box, face) for box, face in _best_pairs(overlaps) if overlaps[box, face] > 0]


def _best_pairs(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with the largest sum, each row and column at most once."""
    if 1 in overlaps.shape:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        return [(int(row), int(column))]
    from scipy.optimize import linear_sum_assignment  # takes 0.3 s, and most videos have one face

    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def track_single_face(detections: Sequence[Sequence[Face]], compat: str = "none") -> np.ndarray:
    """Track one face: one box per frame.

    The track starts with the largest face and continues with the one that overlaps its last box best. If that face is
    absent for `LOST_AFTER_FRAMES`, the track continues with the largest face, as soon as there is one.

    detections: faces of each frame by decreasing score.
    compat: "public" takes the face with the best score of each frame, truncated to whole pixels.
    Returns: (N, 4) float32, NaN where the face is absent.
    """
    boxes = np.full((len(detections), 4), np.nan, dtype=np.float32)
    if compat == "public":
        for frame, faces in enumerate(detections):
            if faces:
                boxes[frame] = np.trunc(faces[0].box)
        return boxes

    last: np.ndarray | None = None
    for frame, faces in enumerate(detections):
        if not faces:
            continue
        box = None if last is None else _match(faces, last)
        if box is None and (last is None or _is_lost(detections[frame + 1 : frame + LOST_AFTER_FRAMES], last)):
            box = np.array(max(faces, key=lambda face: face.area).box)
        if box is not None:
            boxes[frame] = last = box
    return boxes


def fill_gaps(boxes: np.ndarray, max_gap_frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate boxes linearly over short gaps between two boxes of the same face.

    boxes: (N, 4), NaN where there is no face. max_gap_frames: longest gap to fill.
    Returns: boxes (N, 4) float32, and a mask (N,) of the filled rows.
    """
    filled_boxes = np.array(boxes, dtype=np.float32)
    detected = _has_box(filled_boxes)
    rows = np.flatnonzero(detected)
    if len(rows) < 2:
        return filled_boxes, np.zeros(len(detected), dtype=bool)
    before, after = filled_boxes[rows[:-1]], filled_boxes[rows[1:]]
    is_filled = (np.diff(rows) - 1 <= max_gap_frames) & (iou(before, after) > SAME_FACE_IOU)
    previous = np.searchsorted(rows, np.arange(len(detected)), side="right") - 1  # index of the last box before
    inside = (previous >= 0) & (previous < len(is_filled))
    filled = ~detected & inside & is_filled[previous.clip(0, len(is_filled) - 1)]
    frames = np.flatnonzero(filled)
    for side in range(4):
        filled_boxes[frames, side] = np.interp(frames, rows, filled_boxes[rows, side])
    return filled_boxes, filled


def smooth_boxes(boxes: np.ndarray, window: int = 5) -> np.ndarray:
    """Smooth boxes with a centered moving average.

    At the ends of a run the last complete window is extrapolated by its least-squares line, so that steady motion is
    preserved and the first box jitters little more than the others. A run ends at a gap and where the next box is not
    the same face; in a run shorter than the window, the window is smaller.

    boxes: (N, 4), NaN where there is no face. window: frames, odd.
    Returns: (N, 4) float32, NaN in the same rows.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window={window}: must be a positive odd number of frames")
    boxes = np.asarray(boxes, dtype=np.float64)
    detected = _has_box(boxes)
    frames = np.arange(len(boxes))
    is_continued = detected[1:] & detected[:-1] & (iou(boxes[:-1], boxes[1:]) > SAME_FACE_IOU)  # in the next frame
    starts = np.concatenate([[True], ~is_continued])[: len(boxes)]
    ends = np.concatenate([~is_continued, [True]])[: len(boxes)]
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # first frame of each frame's run
    last = np.flatnonzero(ends)[np.cumsum(ends) - ends]  # last frame of its run
    half = np.minimum(window // 2, (last - first) // 2)
    center = frames.clip(first + half, last - half)

    sums = np.zeros((len(boxes) + 1, 4))  # float64: exact for hours of pixels
    np.cumsum(np.where(detected[:, None], boxes, 0), axis=0, dtype=np.float64, out=sums[1:])
    means = (sums[center + half + 1] - sums[center - half]) / (2 * half + 1)[:, None]
    outside = np.flatnonzero(frames != center)
    means[outside] += (frames - center)[outside, None] * _slopes(boxes, center[outside], half[outside])
    means[~detected] = np.nan
    return means.astype(np.float32)


def _slopes(boxes: np.ndarray, centers: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Fit lines to the boxes from center - half to center + half; returns pixels per frame (M, 4)."""
    steps = np.arange(-halves.max(initial=0), halves.max(initial=0) + 1)
    weights = np.where(np.abs(steps) <= halves[:, None], steps, 0)  # (M, window)
    rows = np.where(weights != 0, centers[:, None] + steps, centers[:, None])
    return (weights[..., None] * boxes[rows]).sum(axis=1) / (weights**2).sum(axis=1)[:, None]


def smooth_boxes_public(boxes: np.ndarray, window: int = 5) -> np.ndarray:
    """Smooth boxes as upstream does, for identical crops: each box becomes the mean of itself and the following ones.

    The last boxes take the mean of the last `window` rows, some of which are already smoothed. Means are truncated to
    whole pixels.

    boxes: (N, 4) integers. Returns: (N, 4) of the same type.
    """
    smoothed = boxes.copy()
    complete = max(0, len(boxes) - window + 1)  # windows that end inside contain only original rows
    if complete:
        windows = np.lib.stride_tricks.sliding_window_view(boxes, window, axis=0)  # (complete, 4, window)
        smoothed[:complete] = windows.mean(axis=-1)
    for row in range(complete, len(boxes)):
        smoothed[row] = smoothed[len(boxes) - window :].mean(axis=0)  # a negative start wraps, as upstream
    return smoothed


def _match(faces: Sequence[Face], last: np.ndarray) -> np.ndarray | None:
    """Return the box that overlaps `last` best, or None if it is another face."""
    boxes = np.array([face.box for face in faces])
    overlaps = iou(boxes, last)
    best = overlaps.argmax()
    return boxes[best] if overlaps[best] > SAME_FACE_IOU else None


def _is_lost(next_frames: Sequence[Sequence[Face]], last: np.ndarray) -> bool:
    return all(_match(faces, last) is None for faces in next_frames if faces)


def _has_box(boxes: np.ndarray) -> np.ndarray:
    """Return a mask (N,) of the rows without NaN."""
    return np.isfinite(boxes).all(axis=1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the intersection over union (...) of boxes (..., 4); 0 where a box is NaN or empty."""
    common = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = common.clip(min=0).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
