"""Definition of a metric, the scores of a video, and the frames that metrics of images receive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from wav2lip.faces.crops import resize

LOWER, HIGHER, ZERO, ONE = "lower", "higher", "nearest 0", "nearest 1"  # values that are better


@dataclass(frozen=True)
class Metric:
    """Name, range and definition of a metric."""

    name: str
    better: str  # LOWER, HIGHER, ZERO or ONE
    range: str  # possible values
    unit: str  # "" for a plain number
    formula: str
    source: str
    needs: str = "nothing but the video"  # weights and reference videos

    def deviation(self, value: float) -> float:
        """Return the distance from the best value where that is 0 or 1; else the value itself."""
        return value if self.better == HIGHER else badness(self.better, value)


def badness(better: str, value: float) -> float:
    """Map a value to a number that is lower when better, for LOWER, HIGHER, ZERO and ONE."""
    return {LOWER: value, HIGHER: -value, ZERO: abs(value), ONE: abs(value - 1)}[better]


@dataclass(frozen=True)
class Scores:
    """Metrics of one video, computed and not; no metric is in both."""

    values: Mapping[str, float] = field(default_factory=dict)  # key: metric; may be infinite, never NaN
    missing: Mapping[str, str] = field(default_factory=dict)  # reason and remedy by metric

    def __post_init__(self) -> None:
        if undefined := [name for name, value in self.values.items() if math.isnan(value)]:
            raise ValueError(f"{undefined[0]} is NaN: report it as missing, with the reason")
        if both := self.values.keys() & self.missing.keys():
            raise ValueError(f"{min(both)} has a value and is missing")

    def __or__(self, other: Scores) -> Scores:
        return Scores({**self.values, **other.values}, {**self.missing, **other.missing})


def not_computed(metrics: tuple[Metric, ...], reason: str) -> Scores:
    """Report metrics as missing for one reason."""
    return Scores(missing={metric.name: reason for metric in metrics})


@dataclass(frozen=True)
class FrameSample:
    """A batch of face crops of equal size, (N, h, w, 3) uint8 RGB on any device, at least 32 x 32 each."""

    number: int  # index of the frame in its video, at 25 fps
    faces: Tensor
    previous: tuple[Tensor, ...] = ()  # the same box one and two frames earlier, if they exist
    truth: Tensor | None = None  # the ground truth
    source: Tensor | None = None  # the frame that the face was generated from

    @cached_property
    def mouth_luma(self) -> np.ndarray:
        """Brightness of the lower halves; see `mouth_luma`."""
        return mouth_luma(self.faces)


class FrameMetric(Protocol):
    """A metric accumulated over the frames of one video."""

    sums: Tensor  # float64, additive over frames and processes

    def update(self, sample: FrameSample) -> None:
        """Add frames that have a face."""
        ...

    def compute(self) -> Scores:
        """Return the scores of all frames so far."""
        ...


def lower_half(faces: Tensor) -> Tensor:
    """Return the region that the generator paints: (N, h, w, 3) -> (N, h - h // 2, w, 3), a view."""
    return faces[:, faces.shape[1] // 2 :]


def mouth_luma(faces: Tensor) -> np.ndarray:
    """Return the brightness of the lower halves of faces (N, h, w, 3), BT.601: (N, h - h // 2, w) float32 in 0..255."""
    luma = [cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in to_arrays(lower_half(faces))]
    return np.stack(luma).astype(np.float32)


def to_arrays(faces: Tensor) -> np.ndarray:
    """Return faces as an array (N, h, w, 3) uint8."""
    return faces.cpu().numpy()


def to_planes(faces: Tensor) -> Tensor:
    """Convert faces (N, h, w, 3) uint8 to (N, 3, h, w) float32 in [0, 1], RGB."""
    return faces.movedim(-1, 1).float() / 255


def resize_faces(faces: Tensor, size: int) -> Tensor:
    """Resize faces (N, h, w, 3) uint8 to (N, size, size, 3), on the CPU."""
    return torch.from_numpy(np.stack([resize(face, size, size) for face in to_arrays(faces)]))
