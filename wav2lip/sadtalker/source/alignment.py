"""Alignment of a face to the input of the 3DMM network (Deng et al. 2019): 224 x 224 pixels around the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from wav2lip.sadtalker.source.landmarks import five_points

INPUT_SIZE = 224  # pixels: width and height of the network's input
HEAD_PIXELS = 102.0  # pixels of the input to one unit of the standard points
# x, y (up), z of the eyes, nose tip and mouth corners of the mean face.
STANDARD_POINTS = np.array([
    [-0.31148657, 0.29036078, 0.13377953],
    [0.30979887, 0.28972036, 0.13179526],
    [0.0032535, -0.04617932, 0.55244243],
    [-0.25216928, -0.38133916, 0.22405732],
    [0.2484662, -0.38128236, 0.22235769],
])  # fmt: skip


@dataclass(frozen=True)
class HeadTransform:
    """Scale and position of a head in an image, y up."""

    width: int  # pixels: size of the image
    height: int
    scale: float  # pixels of the network's input to a pixel of the image
    x: float  # pixels: origin of the standard points in the image
    y: float

    @property
    def params(self) -> tuple[float, float, float, float, float]:
        """Width, height, scale, x, y: `trans_params` of the reference."""
        return self.width, self.height, self.scale, self.x, self.y


def fit_head(landmarks: np.ndarray, width: int, height: int) -> HeadTransform:
    """Fit the standard points to landmarks by least squares under weak perspective.

    landmarks: (68, 2) or (5, 2) x and y (down) in pixels of an image of width x height.
    """
    points = np.array(landmarks)
    points[:, 1] = height - 1 - points[:, 1]
    design = np.column_stack([STANDARD_POINTS, np.ones(5)])
    solution = np.linalg.lstsq(design, five_points(points).astype(np.float64), rcond=None)[0]  # (4, 2)
    pixels_per_unit = (np.linalg.norm(solution[:3, 0]) + np.linalg.norm(solution[:3, 1])) / 2
    x, y = solution[3].tolist()
    return HeadTransform(width, height, HEAD_PIXELS / max(float(pixels_per_unit), 1e-6), x, y)


def align_head(image: np.ndarray, transform: HeadTransform) -> np.ndarray:
    """Return the network's input (224, 224, 3) uint8 of an image (H, W, 3) uint8 RGB; black outside of it."""
    width, height, scale, x, y = transform.params
    new_width, new_height = max(1, int(width * scale)), max(1, int(height * scale))
    left = int(new_width / 2 - INPUT_SIZE / 2 + (x - width / 2) * scale)
    top = int(new_height / 2 - INPUT_SIZE / 2 + (height / 2 - y) * scale)
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + INPUT_SIZE, top + INPUT_SIZE)))
