"""A SadTalker engine with networks of a few numbers, and an animated head that moves as its keypoints do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from face_detection import build_detector
from wav2lip.engine.face_location import DetectorPool
from wav2lip.restoration.enhancement import RestorerCache
from wav2lip.sadtalker import SadTalker
from wav2lip.sadtalker.pipeline import EngineNetworks, LoadMouth

CANONICAL = np.random.default_rng(1).uniform(-0.4, 0.4, (15, 3)).astype(np.float32)
MIXER = np.random.default_rng(2).normal(0, 0.1, (80, 64)).astype(np.float32)


class TinyHeadNetworks:
    """`HeadNetworks` without weights: the pose follows the latent and the loudness, keypoints shift with the pose."""

    def __init__(self):
        self.calls = []

    def coefficients(self, heads):
        self.calls.append("coefficients")
        values = np.zeros((len(heads), 257), np.float32)
        values[:, 80:144] = heads.mean(axis=(1, 2, 3))[:, None] / 255
        values[:, 224:227] = 0.01
        return values

    def canonical_keypoints(self, image):
        self.calls.append("canonical_keypoints")
        return CANONICAL

    def expression(self, mels, reference, closure):
        return mels[:, 0].mean(axis=2) @ MIXER + 0.1 * reference + closure[:, None]

    def pose_audio(self, mels):
        return mels[:, 0, :6].mean(axis=2)

    def pose_block(self, style, reference, latent, audio):
        motion = 0.05 * latent[:6] + 0.01 * audio[:, :6] * np.sin(np.arange(32) / 5)[:, None] + 0.001 * style
        return motion.astype(np.float32)

    def keypoints(self, canonical, windows, angles):
        center = windows[:, :, windows.shape[2] // 2]
        shift = np.zeros((len(windows), 1, 3), np.float32)
        shift[:, 0, 0], shift[:, 0, 1] = center[:, 64], center[:, 65] + 0.1 * center[:, 0]
        for axis, degrees in angles.items():
            shift[:, 0, ("yaw", "pitch", "roll").index(axis)] = degrees / 90
        return canonical + shift


class ShiftRenderer:
    """`Renderer` that shifts the photo by the mean motion of the keypoints."""

    def __init__(self):
        self.calls = 0

    def source_features(self, image):
        return image.astype(np.float32)

    def call_size(self, batch_size):
        return batch_size

    def open(self, features, keypoints):
        image = features.astype(np.uint8)

        def draw(driving):
            self.calls += 1
            shifts = (driving - keypoints).mean(axis=1)[:, :2] * (len(image) - 1) / 2
            matrices = [np.float32([[1, 0, x], [0, 1, y]]) for x, y in shifts]
            size = image.shape[1::-1]
            return np.stack([cv2.warpAffine(image, m, size, borderMode=cv2.BORDER_REPLICATE) for m in matrices])

        return draw


def tiny_sadtalker(detector=None, checkpoint="tiny", build=None, **arguments) -> SadTalker:
    """An engine of `TinyHeadNetworks` and `ShiftRenderer`, its attributes `head` and `renderer`, with MTCNN."""
    head, renderer = TinyHeadNetworks(), ShiftRenderer()
    engine = SadTalker(
        lambda size: EngineNetworks(head, lambda precision: renderer, f"{checkpoint}{size}"),
        DetectorPool(build or (lambda batch_size, compat: detector or build_detector("mtcnn"))),
        RestorerCache(torch.device("cpu")),
        **arguments,
    )  # fmt: skip
    engine.head, engine.renderer = head, renderer
    return engine


def install_tiny_sadtalker(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make SadTalker.from_checkpoint return a tiny engine; returns a folder with a renderer of 256 pixels for it."""
    folder.mkdir(exist_ok=True)
    (folder / "SadTalker_V0.0.2_256.safetensors").write_bytes(b"tiny")

    def build(*_: object, load_mouth: LoadMouth | None = None, **_options: object) -> SadTalker:
        return tiny_sadtalker(load_mouth=load_mouth)

    patch.setattr(SadTalker, "from_checkpoint", build)
    return folder
