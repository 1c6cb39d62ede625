"""A face cut out upright, as networks for faces were trained on, and put back."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from wav2lip.lipsync.shown import Target

SIZE = 512  # pixels: width and height of an aligned face
# Eyes, nose tip and mouth corners in an aligned face, x and y: the mean face of FFHQ (Karras et al. 2019) at 512 x 512,
# on which GFPGAN, RestoreFormer and CodeFormer were trained.
TEMPLATE = np.array([[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]])
# Where such a face has its detected box: left, top, right, bottom; for faces whose landmarks are not known. The mean of
# 11 frames of 6 clips; the sides differ by 6 (bottom) to 17 pixels (left) from face to face.
TEMPLATE_BOX = (120.0, 97.0, 389.0, 463.0)
SOFT = 64  # pixels of an aligned face from its edge over which it goes over into the frame


def alignment(target: Target) -> np.ndarray:
    """The similarity transform from the frame to an aligned face: (2, 3) float64, to be applied to (x, y, 1)."""
    if target.landmarks is not None:
        return similarity(target.landmarks.astype(np.float64), TEMPLATE)
    left, top, right, bottom = target.box
    x0, y0, x1, y1 = TEMPLATE_BOX
    scale = np.sqrt((x1 - x0) * (y1 - y0) / ((right - left) * (bottom - top)))
    shift = np.array([x0 + x1 - scale * (left + right), y0 + y1 - scale * (top + bottom)]) / 2
    return np.column_stack([scale * np.eye(2), shift])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring points nearest to others in the sense of least squares.

    source, target: (N, 2) x and y. Returns: (2, 3) float64. In complex numbers it is a line's slope and intercept.
    """
    z, w = source @ (1, 1j), target @ (1, 1j)
    centred = z - z.mean()
    slope = (centred.conj() @ w) / max((centred.conj() @ centred).real, 1e-9)
    shift = w.mean() - slope * z.mean()
    return np.array([[slope.real, -slope.imag, shift.real], [slope.imag, slope.real, shift.imag]])


def cut_aligned(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The aligned face (512, 512, 3) of a frame (H, W, 3) uint8; what lies outside the frame repeats its edge."""
    if (scale := np.hypot(*matrix[:, 0])) < 0.5:  # a face of more than twice the size: smoothed, or it would alias
        frame = cv2.GaussianBlur(frame, (0, 0), 0.5 / scale)
    return cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def paste_aligned(frame: np.ndarray, face: np.ndarray, matrix: np.ndarray, strength: float) -> None:
    """Blend an aligned face into its frame in place, softly at the edges; pixels outside its square stay as they are.

    matrix: of the frame. strength: 0 leaves the frame as it is, 1 shows the face alone.
    """
    corners = np.array([[0, 0, 1], [SIZE, 0, 1], [0, SIZE, 1], [SIZE, SIZE, 1]]) @ inverse(matrix).T
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, frame.shape[1::-1]).astype(int)
    if left >= right or top >= bottom:
        return
    here = matrix.copy()  # from the part of the frame that the square touches
    here[:, 2] += matrix[:, :2] @ (left, top)
    size, flags = (int(right - left), int(bottom - top)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(face, here, size, flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    share = strength * cv2.warpAffine(_soft_square(), here, size, flags=flags)[..., None]  # 0 outside the square
    part = frame[top:bottom, left:right]
    part[...] = np.rint(part + share * (warped - part)).astype(np.uint8)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The transform back."""
    return cv2.invertAffineTransform(matrix)


@cache
def _soft_square() -> np.ndarray:
    """The share of an aligned face in the result, (512, 512) float32: 1 inside, falling to 0 at the edges."""
    edge = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) / SOFT
    ramp = np.clip(edge, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)  # without a kink at its ends
    return np.outer(ramp, ramp).astype(np.float32)
