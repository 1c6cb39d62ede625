"""One face followed through the frames of a video: which one, short gaps filled, jitter smoothed.

Boxes of a video are an array (N, 4) float32: left, top, right, bottom in pixels, a row of NaN where there is no face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from face_detection.interface import Face

SAME_FACE = 0.3  # two boxes that overlap more than this in neighbouring frames are one face
LOST_AFTER = 6  # frames without the face after which it is given up; shorter absences are gaps


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
    bridged = (np.diff(known) - 1 <= longest) & (_overlap(before, after) > SAME_FACE)
    bridge = np.searchsorted(known, np.arange(len(seen)), side="right") - 1  # for each frame, the last box before it
    inside = (bridge >= 0) & (bridge < len(bridged))
    filled = ~seen & inside & bridged[bridge.clip(0, len(bridged) - 1)]
    frames = np.flatnonzero(filled)
    for side in range(4):
        filled_boxes[frames, side] = np.interp(frames, known, filled_boxes[known, side])
    return filled_boxes, filled


def smooth(boxes: np.ndarray, window: int = 5) -> np.ndarray:
    """Mean of each box and its neighbours in time, as many before as after.

    Towards the ends of a run the window shrinks on both sides alike, so a face that moves steadily stays where it is.
    A run ends at a gap and where the next box is not the same face.

    boxes: (N, 4), NaN where there is no face. window: frames, odd.
    Returns: (N, 4) float32, NaN in the same rows.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window} frames; a centred mean needs an odd number of them")
    boxes = np.asarray(boxes, dtype=np.float64)
    seen = _seen(boxes)
    frames = np.arange(len(boxes))
    joined = seen[1:] & seen[:-1] & (_overlap(boxes[:-1], boxes[1:]) > SAME_FACE)  # frame to the next
    starts = np.concatenate([[True], ~joined])[: len(boxes)]
    ends = np.concatenate([~joined, [True]])[: len(boxes)]
    first = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # for each frame, first of its run
    last = np.flatnonzero(ends)[np.cumsum(ends) - ends]  # and last of its run
    reach = np.minimum(window // 2, np.minimum(frames - first, last - frames))

    sums = np.zeros((len(boxes) + 1, 4))  # float64: exact for hours of pixels
    np.cumsum(np.where(seen[:, None], boxes, 0), axis=0, dtype=np.float64, out=sums[1:])
    means = (sums[frames + reach + 1] - sums[frames - reach]) / (2 * reach + 1)[:, None]
    means[~seen] = np.nan
    return means.astype(np.float32)


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
    overlaps = _overlap(boxes, last)
    best = overlaps.argmax()
    return boxes[best] if overlaps[best] > SAME_FACE else None


def _is_lost(coming: Sequence[Sequence[Face]], last: np.ndarray) -> bool:
    return all(_match(faces, last) is None for faces in coming if faces)


def _seen(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: which rows are boxes."""
    return np.isfinite(boxes).all(axis=1)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) with boxes (..., 4): (...), in [0, 1], 0 where one is NaN or empty."""
    common = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = common.clip(min=0).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
