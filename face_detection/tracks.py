"""Faces followed through the frames of a video: who is who, short gaps filled, jitter smoothed.

`link` follows every face, `follow` one. Boxes of a video are an array (N, 4) float32: left, top, right, bottom in
pixels, a row of NaN where there is no face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from face_detection.interface import Face

SAME_FACE = 0.3  # two boxes that overlap more than this in neighbouring frames are one face
LOST_AFTER = 6  # frames without the face after which it is given up; shorter absences are gaps
RECENT = 3  # sightings of a face from which its speed is taken

Path = dict[int, Face]  # one person: frame to face, in the order of the frames


@dataclass(frozen=True)
class FaceTrack:
    """One face through consecutive frames of one shot."""

    start: int  # number of the first frame in the video, from 0
    boxes: np.ndarray  # (N, 4) float32: left, top, right, bottom in pixels of the frame; no NaN
    scores: np.ndarray  # (N,) float32: confidence in [0, 1]; NaN where the face was not looked for, or not found
    filled: np.ndarray  # (N,) bool: looked for and not found, a gap that was bridged
    landmarks: np.ndarray | None = None  # (N, 5, 2) float32: x, y in pixels, as in `Face`; None if there are none

    def __post_init__(self) -> None:
        frames = len(self.boxes)
        if self.boxes.shape != (frames, 4) or self.scores.shape != (frames,) or self.filled.shape != (frames,):
            shapes = f"{self.boxes.shape}, {self.scores.shape}, {self.filled.shape}"
            raise ValueError(f"a track needs a box, a score and a mark for each frame, got {shapes}")
        if self.landmarks is not None and self.landmarks.shape != (frames, 5, 2):
            raise ValueError(f"a track of {frames} frames needs as many times 5 landmarks, got {self.landmarks.shape}")

    @property
    def stop(self) -> int:
        """Number of the first frame after the track."""
        return self.start + len(self.boxes)


@dataclass(frozen=True)
class Tracks:
    """Every face of a video, and what it took to find them."""

    tracks: list[FaceTrack]  # by first frame, then from left to right
    frames: int  # of the video
    height: int  # of a frame, in pixels; 0 of a video without frames
    width: int
    detector_pixels: int  # of all pictures that the detector was given
    scans: int = 0  # whole frames that it was given
    looks: int = 0  # regions around one face that it was given


class Linker:
    """Joins the faces of frames into persons, frame by frame.

    From frame to frame, faces go to the persons whose expected boxes they overlap most, all of them considered at
    once. Who overlaps none by more than `SAME_FACE` is a new person.
    """

    def __init__(self, reach: int):
        """reach: frames from one sighting of a person to the next, at most."""
        self.reach = reach
        self.going: list[Path] = []  # persons who may be seen again

    def add(self, frame: int, faces: Sequence[Face]) -> list[Path]:
        """The faces of the next frame that was looked at. Returns: the persons who are new with it."""
        self.going = [path for path in self.going if frame - next(reversed(path)) <= self.reach]
        new = set(range(len(faces)))
        for known, face in _assign([expected(path, frame) for path in self.going], faces):
            self.going[known][frame] = faces[face]
            new.remove(face)
        begun: list[Path] = [{frame: faces[face]} for face in sorted(new)]
        self.going += begun
        return begun


def link(found: Mapping[int, Sequence[Face]], reach: int) -> list[Path]:
    """The persons of all frames, see `Linker`.

    found: the faces of each frame that was looked at, in any order of frames.
    """
    linker = Linker(reach)
    return [path for frame in sorted(found) for path in linker.add(frame, found[frame])]


def expected(path: Path, frame: int) -> np.ndarray:
    """Box (4,) of a person some frames after the last sighting: moved on, for no longer than its speed is known."""
    recent = list(islice(reversed(path), RECENT))  # the latest first
    box = np.array(path[recent[0]].box)
    known = recent[0] - recent[-1]
    if not known:
        return box
    step = (box - path[recent[-1]].box).reshape(2, 2).mean(axis=0) / known  # of the centre; sizes jump too much
    return box + np.tile(step * min(frame - recent[0], known), 2)


def _assign(boxes: Sequence[np.ndarray], faces: Sequence[Face]) -> list[tuple[int, int]]:
    """Pairs (box, face) that overlap most in total, each box and face at most once."""
    if not boxes or not faces:
        return []
    overlaps = overlap(np.array(boxes)[:, None], np.array([face.box for face in faces])[None])
    overlaps[overlaps <= SAME_FACE] = 0
    return [(box, face) for box, face in _best_pairs(overlaps) if overlaps[box, face] > 0]


def _best_pairs(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) with the largest sum, each row and column at most once."""
    if 1 in overlaps.shape:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        return [(int(row), int(column))]
    from scipy.optimize import linear_sum_assignment  # 0.3 s to import, and most videos show one face

    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def follow(detections: Sequence[Sequence[Face]], compat: str = "none") -> np.ndarray:
    """One box a frame.

    Starts with the largest face and stays with the one that overlaps its last box best. A face that does not come
    back within `LOST_AFTER` frames is given up, at once where another one is seen, and the largest is taken.

    detections: faces of each frame, the most certain first.
    compat: "public" takes the most certain face of each frame by itself, cut down to whole pixels.
    Returns: (N, 4) float32, NaN where the face is not seen.
    """
    tracked = np.full((len(detections), 4), np.nan, dtype=np.float32)
    if compat == "public":
        for frame, faces in enumerate(detections):
            if faces:
                tracked[frame] = np.trunc(faces[0].box)
        return tracked

    last: np.ndarray | None = None
    for frame, faces in enumerate(detections):
        if not faces:
            continue
        box = None if last is None else _match(faces, last)
        if box is None and (last is None or _is_lost(detections[frame + 1 : frame + LOST_AFTER], last)):
            box = np.array(max(faces, key=lambda face: face.area).box)
        if box is not None:
            tracked[frame] = last = box
    return tracked


def fill_gaps(boxes: np.ndarray, longest: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Fill short gaps by straight lines between the boxes on both sides.

    Nothing is filled before the first and after the last box, nor between boxes that are not one face.

    boxes: (N, 4), NaN where there is no face. longest: frames of the longest gap to fill.
    Returns: boxes (N, 4) float32, and (N,) bool: which rows were filled.
    """
    filled_boxes = np.array(boxes, dtype=np.float32)
    seen = _seen(filled_boxes)
    known = np.flatnonzero(seen)
    if len(known) < 2:
        return filled_boxes, np.zeros(len(seen), dtype=bool)
    before, after = filled_boxes[known[:-1]], filled_boxes[known[1:]]
    bridged = (np.diff(known) - 1 <= longest) & (overlap(before, after) > SAME_FACE)
    bridge = np.searchsorted(known, np.arange(len(seen)), side="right") - 1  # for each frame, the last box before it
    inside = (bridge >= 0) & (bridge < len(bridged))
    filled = ~seen & inside & bridged[bridge.clip(0, len(bridged) - 1)]
    frames = np.flatnonzero(filled)
    for side in range(4):
        filled_boxes[frames, side] = np.interp(frames, known, filled_boxes[known, side])
    return filled_boxes, filled


def smooth(boxes: np.ndarray, window: int = 5) -> np.ndarray:
    """Mean of each box and its neighbours in time, as many before as after.

    Towards the ends of a run the window stays where it fits, and the straight line through it goes on to the end: a
    face that moves steadily stays where it is, and the first box jitters little more than the others.
    A run ends at a gap and where the next box is not the same face; one shorter than the window has a smaller window.

    boxes: (N, 4), NaN where there is no face. window: frames, odd.
    Returns: (N, 4) float32, NaN in the same rows.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window} frames; a centred mean needs an odd number of them")
    boxes = np.asarray(boxes, dtype=np.float64)
    seen = _seen(boxes)
    frames = np.arange(len(boxes))
    joined = seen[1:] & seen[:-1] & (overlap(boxes[:-1], boxes[1:]) > SAME_FACE)  # frame to the next
    starts = np.concatenate([[True], ~joined])[: len(boxes)]
    ends = np.concatenate([~joined, [True]])[: len(boxes)]
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # for each frame, first of its run
    last = np.flatnonzero(ends)[np.cumsum(ends) - ends]  # and last of its run
    reach = np.minimum(window // 2, (last - first) // 2)
    centre = frames.clip(first + reach, last - reach)

    sums = np.zeros((len(boxes) + 1, 4))  # float64: exact for hours of pixels
    np.cumsum(np.where(seen[:, None], boxes, 0), axis=0, dtype=np.float64, out=sums[1:])
    means = (sums[centre + reach + 1] - sums[centre - reach]) / (2 * reach + 1)[:, None]
    outside = np.flatnonzero(frames != centre)
    means[outside] += (frames - centre)[outside, None] * _slopes(boxes, centre[outside], reach[outside])
    means[~seen] = np.nan
    return means.astype(np.float32)


def _slopes(boxes: np.ndarray, centres: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    """Pixels a frame (M, 4) of the lines that fit the boxes from centre - reach to centre + reach best."""
    steps = np.arange(-reaches.max(initial=0), reaches.max(initial=0) + 1)
    weights = np.where(np.abs(steps) <= reaches[:, None], steps, 0)  # (M, window)
    rows = np.where(weights != 0, centres[:, None] + steps, centres[:, None])
    return (weights[..., None] * boxes[rows]).sum(axis=1) / (weights**2).sum(axis=1)[:, None]


def smooth_public(boxes: np.ndarray, window: int = 5) -> np.ndarray:
    """Smoothing of the public Wav2Lip code, for identical crops: each box becomes the mean of itself and those after.

    The last boxes take the mean of the last `window` rows, of which some are smoothed already; of fewer boxes than
    `window`, only the last few count. Means are cut down to whole pixels.

    boxes: (N, 4) integers. Returns: (N, 4) of the same type.
    """
    smoothed = boxes.copy()
    whole = max(0, len(boxes) - window + 1)  # windows that do not reach beyond the end see only original rows
    if whole:
        windows = np.lib.stride_tricks.sliding_window_view(boxes, window, axis=0)  # (whole, 4, window)
        smoothed[:whole] = windows.mean(axis=-1)
    for row in range(whole, len(boxes)):
        smoothed[row] = smoothed[len(boxes) - window :].mean(axis=0)  # below 0 the start counts from the end, as there
    return smoothed


def _match(faces: Sequence[Face], last: np.ndarray) -> np.ndarray | None:
    """Box of the face that overlaps `last` best, if it is the same face."""
    boxes = np.array([face.box for face in faces])
    overlaps = overlap(boxes, last)
    best = overlaps.argmax()
    return boxes[best] if overlaps[best] > SAME_FACE else None


def _is_lost(coming: Sequence[Sequence[Face]], last: np.ndarray) -> bool:
    return all(_match(faces, last) is None for faces in coming if faces)


def _seen(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: which rows are boxes."""
    return np.isfinite(boxes).all(axis=1)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) with boxes (..., 4): (...), in [0, 1], 0 where one is NaN or empty."""
    common = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = common.clip(min=0).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
