"""Frames of an animated head: keypoints of every frame, then the renderer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from wav2lip.engine.interface import FaceTarget, FrameItem
from wav2lip.faces.boxes import move_box, round_boxes
from wav2lip.faces.landmark_alignment import fit_similarity
from wav2lip.sadtalker.identity import Identity
from wav2lip.sadtalker.motion.windows import WINDOW_FRAMES, motion_windows
from wav2lip.sadtalker.networks import Angles, HeadNetworks

DrawFrames = Callable[[np.ndarray], np.ndarray]  # keypoints (N, 15, 3) to frames (N, S, S, 3) uint8 RGB


class Renderer(Protocol):
    """Image network of S x S pixels; thread-safe."""

    def source_features(self, image: np.ndarray) -> np.ndarray:
        """Return the features of a photo (S, S, 3) uint8 RGB, (32, 16, S / 4, S / 4) float32."""

    def open(self, features: np.ndarray, keypoints: np.ndarray) -> DrawFrames:
        """Return a function that draws a photo with its features and keypoints (15, 3) at other keypoints."""

    def call_size(self, batch_size: int) -> int:
        """Return the number of frames per call for batches of a size."""


@dataclass(frozen=True)
class ClipMotion:
    """Motion of a clip at the frame rate of the result."""

    coefficients: np.ndarray  # (T, C) float32 at 25 fps
    positions: np.ndarray  # (N,): position of each frame of the result, in frames at 25 fps
    angles: Angles = field(default_factory=dict)  # (N,) degrees each
    loop: bool = False  # the last frame is followed by the first


def render_frames(
    identity: Identity, motion: ClipMotion, networks: HeadNetworks, renderer: Renderer, batch_size: int
) -> Generator[FrameItem, None, None]:
    """Yield the rendered frames (S, S, 3) with the face in them."""
    columns = motion.coefficients.shape[1]
    at_rest = np.repeat(identity.coefficients[None, :columns, None], WINDOW_FRAMES, axis=2)
    (source,) = networks.keypoints(identity.keypoints, at_rest, {})
    draw = renderer.open(identity.features, source)
    count = renderer.call_size(batch_size)
    for first in range(0, len(motion.positions), count):
        batch = slice(first, first + count)
        windows = motion_windows(motion.coefficients, motion.positions[batch], motion.loop)
        angles = {axis: degrees[batch] for axis, degrees in motion.angles.items()}
        driving = networks.keypoints(identity.keypoints, windows, angles)
        for index, (frame, keypoints) in enumerate(zip(draw(driving), driving, strict=True), first):
            yield FrameItem(index, frame, move_face(identity, source, keypoints))


def move_face(identity: Identity, source: np.ndarray, driving: np.ndarray) -> Sequence[FaceTarget]:
    """Return the face of a rendered frame: that of the photo, moved as the keypoints move.

    source, driving: (15, 3) keypoints of the photo and of the frame, x and y in [-1, 1].
    """
    side = len(identity.image)
    pixels = [(keypoints[:, :2].astype(np.float64) + 1) * (side - 1) / 2 for keypoints in (source, driving)]
    transform = fit_similarity(*pixels)
    landmarks = identity.landmarks @ transform[:, :2].T + transform[:, 2]
    (box,) = round_boxes(move_box(np.array(identity.box), transform)[None], side, side)
    return [] if box is None else [FaceTarget(box, landmarks.astype(np.float32))]
