"""One frame of a made video, as the metrics of pictures are shown it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from wav2lip.evaluation.metrics.metric import Scores


@dataclass(frozen=True)
class Look:
    """The face in one frame; every picture is cut at the same box, (h, w, 3) uint8 RGB, at least 32 x 32."""

    number: int  # of the frame, 25 a second
    face: np.ndarray  # as made
    before: tuple[np.ndarray, ...] = ()  # the same place in the frames before: one back, two back, where there are any
    truth: np.ndarray | None = None  # what should have been made
    source: np.ndarray | None = None  # the frame that the face was made from


class Measure(Protocol):
    """Takes the frames of one video one by one and tells what it found."""

    def add(self, look: Look) -> None:
        """The next frame that has a face."""
        ...

    def scores(self) -> Scores:
        """Of all frames so far; each of its metrics is a value, or missing with the reason."""
        ...


def lower_half(face: np.ndarray) -> np.ndarray:
    """The part of a face that the generator repaints: (h, w, 3) -> (h - h // 2, w, 3), a view."""
    return face[len(face) // 2 :]


def grey(face: np.ndarray) -> np.ndarray:
    """Brightness (h, w) float32 in 0..255, by BT.601's weights."""
    return cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)


def as_values(face: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, h, w) float32 in [0, 1], RGB."""
    return torch.from_numpy(np.ascontiguousarray(face)).movedim(-1, 0)[None].float() / 255
