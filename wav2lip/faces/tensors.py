"""Conversion between face crops and the tensors of the networks. RGB becomes BGR here, and nowhere else.

R: pixels, width and height of a face crop.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def to_network(frames: Tensor) -> Tensor:
    """Convert images to network values.

    frames: (..., H, W, 3) uint8 RGB.
    Returns: (..., 3, H, W) float32 in [0, 1], BGR.
    """
    return frames.flip(-1).movedim(-1, -3).float() / 255


def from_network(faces: Tensor) -> Tensor:
    """Convert network values to images.

    faces: (..., 3, H, W) float in [0, 1], BGR.
    Returns: (..., H, W, 3) uint8 RGB, truncated to integers as upstream does.
    """
    return (faces.float() * 255).to(torch.uint8).movedim(-3, -1).flip(-1)


def from_network_array(faces: np.ndarray) -> np.ndarray:
    """Apply `from_network` to arrays: (N, 3, H, W) float32 in [0, 1], BGR, to (N, H, W, 3) uint8 RGB."""
    return np.ascontiguousarray((faces * 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1])


def mask_lower_half(faces: Tensor) -> Tensor:
    """Return a copy of (..., H, W) faces whose lower half, the part to generate, is 0."""
    masked = faces.clone()
    masked[..., faces.shape[-2] // 2 :, :] = 0
    return masked


def generator_input(target: Tensor, reference: Tensor) -> Tensor:
    """Stack the masked target face and the reference face along the channels.

    target: (B, ..., 3, R, R) network values; the lower half is masked here.
    reference: (B, ..., 3, R, R), unmasked faces of the same person.
    Returns: (B, ..., 6, R, R).
    """
    return torch.cat([mask_lower_half(target), reference], dim=-3)


def generator_input_bytes(targets: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Compute `generator_input` of `to_network` as bytes, channels last and not divided by 255.

    targets: (N, R, R, 3) uint8 RGB; the lower half is masked here.
    references: (N, R, R, 3) uint8 RGB, unmasked faces of the same person.
    Returns: (N, R, R, 6) uint8, BGR twice.
    """
    stacked = np.zeros((*targets.shape[:3], 6), np.uint8)
    upper = targets.shape[1] // 2
    stacked[:, :upper, :, :3] = targets[:, :upper, :, ::-1]
    stacked[..., 3:] = references[..., ::-1]
    return stacked


def crop_mouths(faces: Tensor) -> Tensor:
    """Stack the lower halves of T frames for SyncNet: (B, 3, T, R, R) -> (B, 3 * T, R / 2, R), in time order."""
    lower = faces[..., faces.shape[-2] // 2 :, :]
    return lower.transpose(1, 2).flatten(1, 2)


def resize_mouths(lower: Tensor, resolution: int) -> Tensor:
    """Resize lower halves for a SyncNet of another resolution: (B, C, R / 2, R) -> (B, C, resolution / 2, resolution).

    Downscaling averages areas, so that gradients reach every pixel; by a factor of 2 this equals the bilinear
    resizing of the training data.
    """
    size = (resolution // 2, resolution)
    return F.interpolate(lower, size, mode="area" if resolution < lower.shape[-1] else "bilinear")
