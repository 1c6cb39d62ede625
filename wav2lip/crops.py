"""From a face box to what the generator sees, and its answer back into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FACE_SIZE = 96  # pixels: width and height of a face crop as the published networks take it


@dataclass(frozen=True)
class Pads:
    """Pixels added to a detected face box; the release adds 10 below so that the chin is inside."""

    top: int = 0
    bottom: int = 10
    left: int = 0
    right: int = 0


def pad_boxes(boxes: np.ndarray, pads: Pads, height: int, width: int) -> np.ndarray:
    """Widen boxes, within the picture.

    boxes: (N, 4) left, top, right, bottom in pixels; rows of NaN (no face) stay so.
    Returns: (N, 4) of the same dtype.
    """
    grown = boxes + np.array([-pads.left, -pads.top, pads.right, pads.bottom], boxes.dtype)
    low = np.array([0, 0, -np.inf, -np.inf])
    high = np.array([np.inf, np.inf, width, height])
    return np.clip(grown, low, high).astype(boxes.dtype)


def whole_pixels(boxes: np.ndarray, height: int, width: int) -> list[tuple[int, int, int, int] | None]:
    """Boxes as slices of a picture: rounded, within it, None for rows of NaN and for boxes with nothing inside."""
    slices: list[tuple[int, int, int, int] | None] = []
    for row in boxes:
        if np.isnan(row).any():
            slices.append(None)
            continue
        left, top, right, bottom = (int(v) for v in np.rint(row))
        left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
        slices.append((left, top, right, bottom) if left < right and top < bottom else None)
    return slices


def cut(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a frame (H, W, 3) inside a box of whole pixels (left, top, right, bottom); a view."""
    left, top, right, bottom = box
    return frame[top:bottom, left:right]


def resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bilinear, also when it shrinks: OpenCV's default, which every published checkpoint was trained on."""
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)


def to_network(frames: Tensor) -> Tensor:
    """Pictures to network values; here and in the next three functions RGB becomes BGR and back, and nowhere else.

    frames: (..., H, W, 3) uint8 RGB.
    Returns: (..., 3, H, W) float32 in [0, 1], BGR.
    """
    return frames.flip(-1).movedim(-1, -3).float() / 255


def from_network(faces: Tensor) -> Tensor:
    """Network values to pictures.

    faces: (..., 3, H, W) float in [0, 1], BGR.
    Returns: (..., H, W, 3) uint8 RGB, cut down to whole levels as the release does.
    """
    return (faces.float() * 255).to(torch.uint8).movedim(-3, -1).flip(-1)


def bytes_of(faces: np.ndarray) -> np.ndarray:
    """`from_network` for arrays: (N, 3, H, W) float32 in [0, 1], BGR, to (N, H, W, 3) uint8 RGB."""
    return np.ascontiguousarray((faces * 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1])


def hidden_and_shown(targets: np.ndarray, references: np.ndarray) -> np.ndarray:
    """What the generator is shown of faces, as bytes: `generator_input` of `to_network`, channels last and undivided.

    targets: (N, R, R, 3) uint8 RGB whose lower half is to be repainted; it is hidden here.
    references: the same shape, whole faces of the same person.
    Returns: (N, R, R, 6) uint8, BGR twice.
    """
    pictures = np.zeros((*targets.shape[:3], 6), np.uint8)
    upper = targets.shape[1] // 2
    pictures[:, :upper, :, :3] = targets[:, :upper, :, ::-1]
    pictures[..., 3:] = references[..., ::-1]
    return pictures


def mask_lower_half(faces: Tensor) -> Tensor:
    """A copy of (..., H, W) faces whose lower half, the part to be repainted, is 0."""
    masked = faces.clone()
    masked[..., faces.shape[-2] // 2 :, :] = 0
    return masked


def generator_input(target: Tensor, reference: Tensor) -> Tensor:
    """What the generator is shown of a face, from network values.

    target: (B, ..., 3, H, W) whose lower half is to be repainted; it is hidden here.
    reference: the same shape, whole faces of the same person.
    Returns: (B, ..., 6, H, W).
    """
    return torch.cat([mask_lower_half(target), reference], dim=-3)


def mouths(faces: Tensor) -> Tensor:
    """Lower halves of T frames as the expert takes them: (B, 3, T, H, W) -> (B, 3 * T, H / 2, W), in time order."""
    lower = faces[..., faces.shape[-2] // 2 :, :]
    return lower.transpose(1, 2).flatten(1, 2)


def resize_mouths(lower: Tensor, resolution: int) -> Tensor:
    """Lower halves for an expert of another resolution: (B, C, H / 2, W) -> (B, C, resolution / 2, resolution).

    Gradients reach every pixel. Shrinking takes means: by 2 they are what bilinear resizing gives, which experts are
    trained on, and by more they leave no pixel out, as that would.
    """
    size = (resolution // 2, resolution)
    return F.interpolate(lower, size, mode="area" if resolution < lower.shape[-1] else "bilinear")


def paste(frame: np.ndarray, face: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Put a face (h, w, 3) uint8 into a frame in place, resized to fill the box (left, top, right, bottom)."""
    left, top, right, bottom = box
    frame[top:bottom, left:right] = resize(face, right - left, bottom - top)
