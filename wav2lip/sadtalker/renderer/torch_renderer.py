"""Renderer: frames of an image at other keypoints, on one or several devices."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from models.sadtalker.dense_motion import DEPTH, FEATURES
from models.sadtalker.generator import Generator
from models.sadtalker.volumes import gather_volume
from wav2lip.devices import inference_dtype, keep_freed_memory
from wav2lip.sadtalker.renderer.convolution import Convolution, PaddedConvolution, cells, channels, fold_norm
from wav2lip.sadtalker.renderer.decoder import Decoder, Workspace
from wav2lip.sadtalker.renderer.motion import MotionNetwork, SourceMotion

SOURCE_LAYERS = ("first", "down_blocks", "second", "resblocks_3d")
KEPT_BYTES = 2 << 30  # freed memory that is kept for the next frames


class DeviceWeights:
    """Folded weights of the generator on one device."""

    def __init__(self, network: Generator, device: torch.device, dtype: torch.dtype):
        network = network.to(device).eval()
        self.device, self.dtype = device, dtype
        self.motion = MotionNetwork(network.dense_motion_network, dtype)
        third, bias = fold_norm(network.third.conv, network.third.norm)
        third = third.unflatten(1, (FEATURES, DEPTH)).transpose(1, 2).flatten(1, 2)  # the order of `FrameStream._warp`
        self.third = PaddedConvolution(third, bias, (1,), network.third.slope)
        self.fourth = Convolution(network.fourth.weight, network.fourth.bias, (0, 0))
        self.decoder = Decoder(network.decoder, dtype)


class FrameStream:
    """Frames of one source on one device; one thread at a time."""

    def __init__(self, weights: DeviceWeights, features: Tensor, keypoints: Tensor):
        """features: (1, 32, D, H, W) float32. keypoints: (15, 3) float32 of the source. Both on the device."""
        self.weights = weights
        self.features = features.contiguous(memory_format=torch.channels_last_3d)
        self.motion = SourceMotion(weights.motion, self.features, keypoints)
        self.workspace = Workspace(features.device)

    @torch.inference_mode()
    def __call__(self, driving: Tensor) -> Tensor:
        """Return a frame, (S, S, 3) float32 RGB in (0, 1). driving: (15, 3) float32 keypoints."""
        deformation, occlusion = self.motion(driving)
        warped = self._warp(deformation)
        padded = self.workspace.pad("warped", warped, torch.float32)
        segmentation = cells(self.weights.fourth(channels(self.weights.third(padded)))).mul_(occlusion)
        return self.weights.decoder(self.workspace.pad("segmentation", segmentation, torch.float32), self.workspace)

    def _warp(self, deformation: Tensor) -> Tensor:
        """Sample the features: (D, H, W, 3) -> (H, W, D * 32)."""
        positions = deformation.permute(1, 2, 0, 3)  # (H, W, D, 3)
        return gather_volume(self.features[0], positions).flatten(2)


class TorchRenderer:
    """Generator with folded weights, in 16 bits where the device has them; thread-safe.

    Positions, masks and statistics stay in float32.
    """

    def __init__(
        self, network: Generator, devices: torch.device | Sequence[torch.device], dtype: torch.dtype | None = None
    ):
        """devices: several share the frames of each call, a contiguous range for each.
        dtype: of the motion network and the decoder; `inference_dtype` by default.
        """
        devices = [devices] if isinstance(devices, torch.device) else list(devices)
        if any(device.type == "cpu" for device in devices):
            keep_freed_memory(KEPT_BYTES)
        self.devices = devices
        self._weights = [DeviceWeights(network, device, dtype or inference_dtype(device)) for device in devices]
        encoder = copy.copy(network)  # without the layers whose folded copies are used
        encoder._modules = {name: network._modules[name] for name in SOURCE_LAYERS}
        self._encoder = encoder.to(devices[0])

    def call_size(self, batch_size: int) -> int:
        """Return the number of frames per call for a batch size per device."""
        return batch_size * len(self.devices)

    @torch.inference_mode()
    def source_features(self, image: np.ndarray) -> np.ndarray:
        """Return the features of an image (S, S, 3) uint8 RGB, (32, 16, S / 4, S / 4) float32."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.devices[0]).movedim(-1, 0)[None].float() / 255
        return self._encoder.source_features(pixels)[0].cpu().numpy()

    def streams(self, features: np.ndarray, keypoints: np.ndarray) -> list[FrameStream]:
        """Return the frames of a source on each device.

        features: as of `source_features`. keypoints: (15, 3) of the source.
        """
        return [
            FrameStream(
                weights,
                torch.from_numpy(np.array(features, np.float32))[None].to(weights.device),
                torch.from_numpy(np.array(keypoints, np.float32)).to(weights.device),
            )
            for weights in self._weights
        ]

    def open(self, features: np.ndarray, keypoints: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from driving keypoints (N, 15, 3) to frames (N, S, S, 3) uint8 RGB.

        The function is for one thread at a time. features, keypoints: see `streams`.
        """
        streams = self.streams(features, keypoints)

        def draw(driving: np.ndarray) -> np.ndarray:
            ranges = np.array_split(np.asarray(driving, np.float32), len(streams))
            if len(streams) == 1:
                return render_range(streams[0], ranges[0])
            with ThreadPoolExecutor(len(streams)) as executor:
                return np.concatenate(list(executor.map(render_range, streams, ranges)))

        return draw


def render_range(stream: FrameStream, driving: np.ndarray) -> np.ndarray:
    """Render successive frames, (N, S, S, 3) uint8 RGB. driving: (N, 15, 3) float32."""
    size = 4 * stream.features.shape[-1]
    frames = np.empty((len(driving), size, size, 3), np.uint8)
    for frame, points in zip(frames, torch.from_numpy(driving).to(stream.features.device), strict=True):
        frame[:] = (stream(points) * 255).round_().to(torch.uint8).cpu().numpy()
    return frames
