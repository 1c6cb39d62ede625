"""68 landmarks from the 98 of WFLW: FAN with the adaptive wing loss (Wang et al. 2019), as SadTalker uses it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import nn

from face_detection.hashing import hash_weights
from face_detection.landmarks.fan68 import Box
from models.fan import INPUT_SIZE, POINTS_98

MAP_SIZE = 64
# Points of the 300-W scheme, each the mean of two of the WFLW scheme.
BROWS = [(33, 33), (34, 41), (35, 40), (36, 39), (37, 38), (42, 50), (43, 49), (44, 48), (45, 47), (46, 46)]
EYES = [60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75]
PAIRS = np.array(
    [*((n, n) for n in range(0, 33, 2)), *BROWS, *((n, n) for n in [*range(51, 60), *EYES, *range(76, 96)])]
)


class FAN98Landmarker:
    """Locate 68 landmarks of detected faces, see `face_detection.landmarks.detector.Landmarker`."""

    def __init__(self, network: nn.Module, device: torch.device, compat: str = "none"):
        """network: `models.fan.FAN98`. compat: see `decode_heatmaps`."""
        self.network, self.device, self.compat = network.to(device).eval(), device, compat

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of everything that the landmarks depend on."""
        return f"fan98 {self.compat} {hash_weights(self.network)}"

    def locate(self, frames: Sequence[np.ndarray], boxes: Sequence[Box]) -> np.ndarray:
        """Locate the landmarks of one face in each frame.

        frames: (H, W, 3) uint8 RGB. boxes: left, top, right, bottom in pixels.
        Returns: (N, 68, 2) float32, x and y in pixels.
        """
        found = [self._locate(frame, box) for frame, box in zip(frames, boxes, strict=True)]
        return np.stack(found) if found else np.zeros((0, 68, 2), np.float32)

    def _locate(self, image: np.ndarray, box: Box) -> np.ndarray:
        height, width = image.shape[:2]
        left, top, right, bottom = (int(side) for side in box)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        scale = np.array([right - left, bottom - top]) / MAP_SIZE
        points = decode_heatmaps(self._heatmaps(image[top:bottom, left:right]), self.compat) * scale + (left, top)
        return to_68_points(points)

    @torch.inference_mode()
    def _heatmaps(self, face: np.ndarray) -> np.ndarray:
        """Return heatmaps (98, 64, 64) of a face (h, w, 3) uint8 RGB."""
        resized = cv2.resize(face, (INPUT_SIZE, INPUT_SIZE))[..., ::-1]
        batch = torch.from_numpy(np.ascontiguousarray(resized)).to(self.device).movedim(-1, 0)[None].float() / 255
        return self.network(batch)[-1][0, :POINTS_98].float().cpu().numpy()


def decode_heatmaps(maps: np.ndarray, compat: str = "none") -> np.ndarray:
    """Return the maxima of heatmaps (98, 64, 64), shifted by a quarter towards the higher neighbor.

    compat: "public" reads other neighbors at the edges of a map, as the reference does; otherwise no shift is made
        across an edge.
    Returns: (98, 2) float64, x and y in cells, from 0 to 64.
    """
    flat = maps.reshape(len(maps), -1)
    best = flat.argmax(axis=1)
    x, y = best % MAP_SIZE, best // MAP_SIZE
    shift = _public_shift(flat, best) if compat == "public" else _inner_shift(flat, best, x, y)
    return np.stack([x, y], axis=1) + 0.25 * np.sign(shift) + 0.5


def _inner_shift(flat: np.ndarray, best: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    rows, last = np.arange(len(flat)), flat.shape[1] - 1
    along_x = flat[rows, np.minimum(best + 1, last)] - flat[rows, np.maximum(best - 1, 0)]
    along_y = flat[rows, np.minimum(best + MAP_SIZE, last)] - flat[rows, np.maximum(best - MAP_SIZE, 0)]
    inside = [(axis > 0) & (axis < MAP_SIZE - 1) for axis in (x, y)]
    return np.stack([np.where(inside[0], along_x, 0), np.where(inside[1], along_y, 0)], axis=1)


def _public_shift(flat: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Take left and right from the flat map; if a point is at an edge, above or below is one cell for all points."""
    rows, last = np.arange(len(flat)), flat.shape[1] - 1
    below = np.full_like(best, last) if (best >= last + 1 - MAP_SIZE).any() else best + MAP_SIZE
    above = np.zeros_like(best) if (best <= MAP_SIZE).any() else best - MAP_SIZE
    along_x = flat[rows, np.minimum(best + 1, last)] - flat[rows, best - 1]
    return np.stack([along_x, flat[rows, below] - flat[rows, above]], axis=1)


def to_68_points(points: np.ndarray) -> np.ndarray:
    """Convert 98 points (WFLW) to 68 (300-W): (68, 2) float32."""
    return points[PAIRS].mean(axis=1).astype(np.float32)
