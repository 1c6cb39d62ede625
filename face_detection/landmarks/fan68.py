"""FAN (Bulat and Tzimiropoulos 2017): 68 landmarks of a face in the 300-W scheme, from heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from face_detection.adaptive_batch import AdaptiveBatcher
from face_detection.hashing import hash_weights
from face_detection.interface import DetectorError
from models.fan import FAN, INPUT_SIZE

Box = tuple[float, float, float, float]
NUM_LANDMARKS = 68
MOUTH = slice(48, 68)  # outer and inner lips
# Files of the package face-alignment in torch's cache: TorchScript before 1.5, a state_dict from 1.5 on.
CACHED_WEIGHTS = ("2DFAN4-cd938726ad.zip", "2DFAN4-11f355bf06.pth.tar")
URL = "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar"
# The crop that FAN was trained with, relative to S3FD's box: a square around a point above the box's center.
CROP_SCALE = 200 / 195  # sides per sum of the box's width and height
CENTER_SHIFT = 0.12  # heights of the box, upwards


class FAN68(FAN):
    """FAN with 68 heat maps, of the last hourglass only."""

    def forward(self, faces: Tensor) -> Tensor:  # type: ignore[override]
        """Return heat maps (B, 68, 64, 64). faces: (B, 3, 256, 256) float32 RGB in [0, 1]."""
        return super().forward(faces)[-1]

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], source: str) -> FAN68:
        """Build the network with the number of hourglasses of its weights; DetectorError with `source` for others."""
        network = cls(num_stacks=sum(key.startswith("conv_last") and key.endswith(".weight") for key in weights))
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise DetectorError(f"{source}: not the weights of 2DFAN4; download {URL}") from error
        return network.eval().requires_grad_(False)


class FANLandmarker:
    """Locate 68 landmarks of detected faces with FAN, in batches on any torch device."""

    def __init__(self, network: nn.Module, device: str | torch.device = "cpu", batch_size: int = 8):
        """network: faces (B, 3, 256, 256) float32 RGB in [0, 1] to heat maps (B, 68, h, w)."""
        self.device = torch.device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.batcher = AdaptiveBatcher(batch_size, "FAN", "faces")

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of everything that the landmarks depend on."""
        return f"fan68 {hash_weights(self.network)}"

    @torch.inference_mode()
    def locate(self, frames: Sequence[np.ndarray], boxes: Sequence[Box]) -> np.ndarray:
        """Locate the landmarks of one face in each frame.

        frames: (H, W, 3) uint8 RGB. boxes: left, top, right, bottom in pixels, as S3FD detects them.
        Returns: (N, 68, 2) float64, x and y in pixels.
        """
        if not boxes:
            return np.zeros((0, NUM_LANDMARKS, 2))
        matrices = np.stack([crop_matrix(box) for box in boxes])
        crops = np.stack([crop_face(*pair) for pair in zip(frames, matrices, strict=True)])
        parts = self.batcher(len(crops), lambda batch: decode_heatmaps(self._heatmaps(crops[batch])))
        points = np.concatenate(parts) * INPUT_SIZE - 0.5  # pixels of the crop
        scales, corners = matrices[:, 0, 0], matrices[:, :, 2]
        return (points - corners[:, None]) / scales[:, None, None]

    def _heatmaps(self, crops: np.ndarray) -> Tensor:
        faces = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        return self.network(faces)


def crop_matrix(box: Box) -> np.ndarray:
    """Return the transform from pixels of the frame to pixels of FAN's crop: (2, 3) float64."""
    left, top, right, bottom = box
    scale = INPUT_SIZE / (CROP_SCALE * (right - left + bottom - top))
    center = np.array([(left + right) / 2, (top + bottom) / 2 - CENTER_SHIFT * (bottom - top)])
    return np.column_stack([scale * np.eye(2), (INPUT_SIZE - 1) / 2 - scale * (center - 0.5)])


def crop_face(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return FAN's crop (256, 256, 3) of a frame (H, W, 3); black outside of the frame."""
    return cv2.warpAffine(frame, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)


def find_cached_weights() -> Path | None:
    """Return the weights of FAN in torch's cache, if face-alignment has downloaded them."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next((path for name in CACHED_WEIGHTS if (path := folder / name).is_file()), None)


def decode_heatmaps(maps: Tensor) -> np.ndarray:
    """Return the maxima of heat maps (N, P, h, w): (N, P, 2) float64, x and y as fractions of width and height.

    Shifted by a quarter of a cell towards the higher neighbor, as in FAN's decoding.
    """
    values = maps.double().cpu().numpy()
    height, width = values.shape[2:]
    best = values.reshape(*values.shape[:2], -1).argmax(axis=-1)
    points = np.stack([best % width, best // width], axis=-1).astype(np.float64)
    for n, p in np.ndindex(*best.shape):
        x, y = int(best[n, p] % width), int(best[n, p] // width)
        if 0 < x < width - 1 and 0 < y < height - 1:
            heat = values[n, p]
            points[n, p] += 0.25 * np.sign([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
    return (points + 0.5) / (width, height)
