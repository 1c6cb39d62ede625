"""SadTalker's engine without its weights: a formula moves the head, and a warp of the photo renders it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from wav2lip.audio.windows import FPS
from wav2lip.engine.face_location import BuildDetector, DetectorPool
from wav2lip.faces.landmark_alignment import fit_similarity
from wav2lip.restoration.enhancement import RestorerCache
from wav2lip.sadtalker import SadTalker
from wav2lip.sadtalker.networks import Angles
from wav2lip.sadtalker.pipeline import EngineNetworks, LoadMouth

CPU = torch.device("cpu")
ROLL, SHIFT_X, SHIFT_Y = 66, 67, 68  # columns of the coefficients that `MovingHead` uses
AMPLITUDES = {ROLL: 0.12, SHIFT_X: 0.12, SHIFT_Y: 0.08}  # radians, and shares of half the image
PERIODS = {ROLL: 2.1, SHIFT_X: 3.4, SHIFT_Y: 1.6}  # seconds


class MovingHead:
    """`HeadNetworks` whose pose is a formula and whose expression is neutral."""

    def __init__(self) -> None:
        x, y = np.meshgrid(np.linspace(-0.4, 0.4, 5), np.linspace(-0.4, 0.4, 3))
        self.points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(15, 3).astype(np.float32)

    def coefficients(self, heads: np.ndarray) -> np.ndarray:
        """Return zeros: the photo is at rest."""
        return np.zeros((len(heads), 257), np.float32)

    def canonical_keypoints(self, image: np.ndarray) -> np.ndarray:
        """Return a grid."""
        return self.points

    def expression(self, mels: np.ndarray, reference: np.ndarray, closure: np.ndarray) -> np.ndarray:
        """Return a neutral expression."""
        return np.zeros((len(mels), 64), np.float32)

    def pose_audio(self, mels: np.ndarray) -> np.ndarray:
        """Return zeros: the pose does not depend on the audio."""
        return np.zeros((len(mels), 6), np.float32)

    def pose_block(self, style: int, reference: np.ndarray, latent: np.ndarray, audio: np.ndarray) -> np.ndarray:
        """Return waves whose phases are drawn."""
        motion = np.zeros((len(audio), 6), np.float32)
        for column, amplitude in AMPLITUDES.items():
            phase = 2 * np.pi * np.arange(len(audio)) / FPS / PERIODS[column] + latent[column - 64] * np.pi
            motion[:, column - 64] = amplitude * np.sin(phase)
        return motion

    def keypoints(self, canonical: np.ndarray, windows: np.ndarray, angles: Angles) -> np.ndarray:
        """Turn and shift the grid."""
        center = windows[:, :, windows.shape[2] // 2]
        cos, sin = np.cos(center[:, ROLL]), np.sin(center[:, ROLL])
        matrices = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
        moved = np.repeat(canonical[None], len(windows), axis=0)
        moved[..., :2] = canonical[:, :2] @ matrices.transpose(0, 2, 1) + center[:, None, [SHIFT_X, SHIFT_Y]]
        return moved


class WarpRenderer:
    """`Renderer` that moves the photo by the similarity between keypoints."""

    def source_features(self, image: np.ndarray) -> np.ndarray:
        """Return the photo."""
        return image.astype(np.float32)

    def call_size(self, batch_size: int) -> int:
        """See `Renderer`."""
        return batch_size

    def open(self, features: np.ndarray, keypoints: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """See `Renderer`."""
        image = features.astype(np.uint8)
        half = (len(image) - 1) / 2

        def draw(driving: np.ndarray) -> np.ndarray:
            pixels = [(points[..., :2].astype(np.float64) + 1) * half for points in (keypoints, driving)]
            matrices = [fit_similarity(pixels[0], points) for points in pixels[1]]
            size = image.shape[1::-1]
            return np.stack([cv2.warpAffine(image, m, size, borderMode=cv2.BORDER_REPLICATE) for m in matrices])

        return draw


def build_moving_head(build_detector: BuildDetector, load_mouth: LoadMouth | None = None) -> SadTalker:
    """Build the engine. build_detector: see `DetectorPool`. load_mouth: see `SadTalker`."""
    networks = EngineNetworks(MovingHead(), lambda precision: WarpRenderer(), "formula")
    return SadTalker(lambda size: networks, DetectorPool(build_detector), RestorerCache(CPU), load_mouth=load_mouth)
