"""Similarity alignment of a face to the template of face restoration networks, and blending it back."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from wav2lip.engine.interface import FaceTarget

ALIGNED_SIZE = 512  # pixels: width and height of an aligned face
# x, y of eyes, nose tip and mouth corners: the mean face of FFHQ (Karras et al. 2019) at 512 x 512. GFPGAN,
# RestoreFormer and CodeFormer were trained on faces aligned to it.
TEMPLATE = np.array([[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]])
# Detected box (left, top, right, bottom) of an aligned face, for faces without landmarks. Mean of 11 frames of 6 clips;
# the sides vary by 6 (bottom) to 17 pixels (left).
TEMPLATE_BOX = (120.0, 97.0, 389.0, 463.0)
FEATHER_PIXELS = 64  # width of the transition at the edges of an aligned face


def estimate_alignment(target: FaceTarget) -> np.ndarray:
    """Return the similarity transform from the frame to the aligned face: (2, 3) float64, for (x, y, 1)."""
    if target.landmarks is not None:
        return fit_similarity(target.landmarks.astype(np.float64), TEMPLATE)
    left, top, right, bottom = target.box
    x0, y0, x1, y1 = TEMPLATE_BOX
    scale = np.sqrt((x1 - x0) * (y1 - y0) / ((right - left) * (bottom - top)))
    shift = np.array([x0 + x1 - scale * (left + right), y0 + y1 - scale * (top + bottom)]) / 2
    return np.column_stack([scale * np.eye(2), shift])


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the rotation, scale and shift that map points to target points with the least squared error.

    source, target: (N, 2) x and y. Returns: (2, 3) float64.
    """
    z, w = source @ (1, 1j), target @ (1, 1j)  # complex numbers make this a linear regression
    centered = z - z.mean()
    slope = (centered.conj() @ w) / max((centered.conj() @ centered).real, 1e-9)
    shift = w.mean() - slope * z.mean()
    return np.array([[slope.real, -slope.imag, shift.real], [slope.imag, slope.real, shift.imag]])


def crop_aligned(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the aligned face (512, 512, 3) of a frame (H, W, 3) uint8; pixels outside the frame repeat its edge."""
    if (scale := np.hypot(*matrix[:, 0])) < 0.5:  # low-pass filter against aliasing
        frame = cv2.GaussianBlur(frame, (0, 0), 0.5 / scale)
    size = (ALIGNED_SIZE, ALIGNED_SIZE)
    return cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def paste_aligned(frame: np.ndarray, face: np.ndarray, matrix: np.ndarray, strength: float) -> None:
    """Blend an aligned face into its frame in place, with feathered edges.

    matrix: see `estimate_alignment`. strength: from 0, the frame unchanged, to 1, the face only.
    """
    size = ALIGNED_SIZE
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ cv2.invertAffineTransform(matrix).T
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)) + 1, frame.shape[1::-1]).astype(int)
    if left >= right or top >= bottom:
        return
    roi_matrix = matrix.copy()  # from the part of the frame that the face covers
    roi_matrix[:, 2] += matrix[:, :2] @ (left, top)
    roi_size, flags = (int(right - left), int(bottom - top)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(face, roi_matrix, roi_size, flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    alpha = strength * cv2.warpAffine(_feather_mask(), roi_matrix, roi_size, flags=flags)[..., None]  # 0 outside
    roi = frame[top:bottom, left:right]
    roi[...] = np.rint(roi + alpha * (warped - roi)).astype(np.uint8)


@cache
def _feather_mask() -> np.ndarray:
    """Return the opacity of an aligned face, (512, 512) float32: 1 inside, falling smoothly to 0 at the edges."""
    edge = np.minimum(np.arange(ALIGNED_SIZE), np.arange(ALIGNED_SIZE)[::-1]) / FEATHER_PIXELS
    ramp = np.clip(edge, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)  # smoothstep
    return np.outer(ramp, ramp).astype(np.float32)
