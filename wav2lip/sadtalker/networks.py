"""Networks between arrays: coefficients of a photo, expression and pose from audio, keypoints from coefficients.

All run in float32: in 16 bits the head hardly moves. S: pixels of the renderer, 256 or 512.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from models.sadtalker.audio2pose import POSE, Audio2Pose
from models.sadtalker.mapping import transform_keypoints

EXPRESSION = slice(80, 144)  # columns of the 3DMM network's output
ANGLES = slice(224, 227)
TRANSLATION = slice(254, 257)

Angles = Mapping[str, np.ndarray]  # "yaw", "pitch" or "roll" to (N,) degrees that replace the predicted ones


class HeadNetworks(Protocol):
    """Everything but the renderer."""

    def coefficients(self, heads: np.ndarray) -> np.ndarray:
        """Return 3DMM coefficients (N, 257) float32 of aligned heads (N, 224, 224, 3) uint8 RGB."""

    def canonical_keypoints(self, image: np.ndarray) -> np.ndarray:
        """Return the keypoints (15, 3) float32 of a photo (S, S, 3) uint8 RGB without its pose."""

    def expression(self, mels: np.ndarray, reference: np.ndarray, closure: np.ndarray) -> np.ndarray:
        """Return expression coefficients (N, 64) float32.

        mels: (N, 1, 80, 16). reference: (N, 64) expression of the photo. closure: (N,) of the eyes, 0 to 1.
        """

    def pose_audio(self, mels: np.ndarray) -> np.ndarray:
        """Return the audio features (N, 6) float32 of mel windows (N, 1, 80, 16) for `pose_block`."""

    def pose_block(self, style: int, reference: np.ndarray, latent: np.ndarray, audio: np.ndarray) -> np.ndarray:
        """Return head motion (32, 6) float32 relative to a reference pose (6,).

        latent: (64,). audio: (32, 6) features.
        """

    def keypoints(self, canonical: np.ndarray, windows: np.ndarray, angles: Angles) -> np.ndarray:
        """Return keypoints (N, 15, 3) float32 of motion windows (N, 70 or 73, 27)."""


class TorchHeadNetworks:
    """Networks of the published checkpoints on a device."""

    def __init__(self, load: Callable[[str], nn.Module], device: torch.device):
        """load: builds a network with its weights by its name in `models.sadtalker.NETWORKS`; called when needed."""
        self.device = device
        self._network: Callable[[str], nn.Module] = lru_cache(None)(lambda name: load(name).to(device).eval())

    @torch.inference_mode()
    def coefficients(self, heads: np.ndarray) -> np.ndarray:
        """See `HeadNetworks`."""
        return _to_array(self._network("face_3drecon")(self._images(heads)))

    @torch.inference_mode()
    def canonical_keypoints(self, image: np.ndarray) -> np.ndarray:
        """See `HeadNetworks`."""
        return _to_array(self._network("kp_extractor")(self._images(image[None]))[0])

    @torch.inference_mode()
    def expression(self, mels: np.ndarray, reference: np.ndarray, closure: np.ndarray) -> np.ndarray:
        """See `HeadNetworks`."""
        inputs = (self._tensor(values)[None] for values in (mels, reference, closure[:, None]))
        return _to_array(self._network("audio2exp")(*inputs)[0])

    @torch.inference_mode()
    def pose_audio(self, mels: np.ndarray) -> np.ndarray:
        """See `HeadNetworks`."""
        network = cast(Audio2Pose, self._network("audio2pose"))
        return _to_array(network.netG.decoder.linear_audio(network.audio_encoder(self._tensor(mels)[None]))[0])

    @torch.inference_mode()
    def pose_block(self, style: int, reference: np.ndarray, latent: np.ndarray, audio: np.ndarray) -> np.ndarray:
        """See `HeadNetworks`."""
        decoder = cast(Audio2Pose, self._network("audio2pose")).netG.decoder
        features, pose, code = (self._tensor(values)[None] for values in (audio, reference, latent))
        return _to_array(decoder.decode(features, pose, torch.tensor([style], device=self.device), code)[0])

    @torch.inference_mode()
    def keypoints(self, canonical: np.ndarray, windows: np.ndarray, angles: Angles) -> np.ndarray:
        """See `HeadNetworks`."""
        name = "mapping" if windows.shape[1] == POSE.stop else "mapping_full"
        pose = self._network(name)(self._tensor(windows))
        degrees = {axis: self._tensor(values) for axis, values in angles.items()}
        return _to_array(transform_keypoints(self._tensor(canonical)[None], pose, **degrees))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.require(values, np.float32, ["C", "W"])).to(self.device)

    def _images(self, images: np.ndarray) -> Tensor:
        """Convert images (N, H, W, 3) uint8 to (N, 3, H, W) in [0, 1]."""
        return torch.from_numpy(np.array(images)).to(self.device).movedim(-1, 1).float() / 255


def _to_array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
