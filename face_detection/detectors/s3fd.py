"""S3FD (Zhang et al. 2017), the detector that cropped the training faces of the published Wav2Lip weights."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from face_detection.adaptive_batch import AdaptiveBatcher
from face_detection.box_ops import nms
from face_detection.detectors.s3fd_network import STRIDES, S3FDNetwork
from face_detection.hashing import hash_weights
from face_detection.interface import DetectorError, Face
from face_detection.resize import downscale_to

CHANNEL_MEANS = (104.0, 117.0, 123.0)  # blue, green, red; of the trunk's pretraining data
PRIOR_SIZE = 4  # side of a prior box, in strides
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2  # scales of the box heads' offsets
MIN_SCORE = 0.5  # exclusive
MAX_SIDE = 640  # pixels, 40 of the smallest prior boxes; 1080 x 1920 without downscaling takes nine times as long
MAX_OVERLAP = 0.3  # NMS threshold

# Raised by torch.load for text, truncated archives and random bytes; it documents no common base class.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError,
              struct.error)  # fmt: skip


class S3FD:
    """Detect faces with S3FD in batches, on any torch device.

    weights: the network's state_dict, or a file with it.
    batch_size: images per batch; halved permanently when the device runs out of memory.
    compat: "none" for BGR input, as in S3FD's training; "public" for RGB with the same three means, as upstream does,
        for boxes identical to upstream's.
    max_side: pixels to which the longer side of larger images is downscaled for detection; by default `MAX_SIDE`, or
        the full size with "public".
    dtype: of the network; boxes are decoded in float32.
    """

    name = "s3fd"

    def __init__(
        self,
        weights: Mapping[str, Tensor] | Path,
        device: str | torch.device = "cpu",
        batch_size: int = 8,
        compat: str = "none",
        max_side: int | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        if batch_size < 1:
            raise DetectorError(f"batch_size={batch_size}: must be at least 1")
        self.device = torch.device(device)
        self.batcher = AdaptiveBatcher(batch_size, "S3FD", "images")
        self.compat = compat
        self.max_side = max_side or (None if compat == "public" else MAX_SIDE)
        network = _load_network(weights).eval().requires_grad_(False)
        self.dtype = dtype
        self.network = network.to(self.device, dtype).to(memory_format=torch.channels_last)

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of everything that the detections depend on."""
        return f"{self.name} {self.compat}, {self.dtype}, max_side {self.max_side}, {hash_weights(self.network)}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces.

        frames: images (H, W, 3) uint8 RGB, all of one size.
        Returns: the faces of each image by decreasing score. Boxes do not start left of or above the image, but may
            end outside it.
        """
        batches = self.batcher(len(frames), lambda batch: self._detect_batch(frames[batch]))
        return [faces for batch in batches for faces in batch]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        small = [downscale_to(frame, self.max_side or max(frame.shape)) for frame in frames]  # faster in uint8
        images = torch.from_numpy(np.stack([image for image, _ in small])).to(self.device)
        maps = self.network(normalize_images(images, self.compat).to(self.dtype))
        boxes, scores = decode_boxes([values.float() for values in maps])
        return [
            _to_faces(*suppress_overlaps(image_boxes, image_scores), scale)
            for image_boxes, image_scores, (_, scale) in zip(boxes, scores, small, strict=True)
        ]


def normalize_images(frames: Tensor, compat: str = "none") -> Tensor:
    """Convert images to the network's input.

    frames: (B, H, W, 3) uint8 RGB.
    Returns: (B, 3, H, W) float32 in -123..151, on the same device: BGR, or RGB if compat is "public".
    """
    images = frames.permute(0, 3, 1, 2).float()  # channels_last memory order
    means = torch.tensor(CHANNEL_MEANS, device=frames.device).view(3, 1, 1)
    if compat != "public":
        images = images.flip(1)
    return images - means


def decode_boxes(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Convert the head maps to a box and a score for every cell of every level.

    maps: the 12 head maps of `S3FDNetwork`.
    Returns: boxes (B, N, 4) left, top, right, bottom in pixels, and scores (B, N) in [0, 1]; N = cells of all levels,
        level by level, row by row.
    """
    levels = [_decode_level(*pair) for pair in zip(maps[::2], maps[1::2], STRIDES, strict=True)]
    return torch.cat([boxes for boxes, _ in levels], dim=1), torch.cat([scores for _, scores in levels], dim=1)


def suppress_overlaps(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Apply NMS to the boxes of one image; return the remaining ones by decreasing score.

    boxes: (N, 4); scores: (N,). Returns: (K, 4) and (K,).
    """
    candidates = scores > MIN_SCORE  # before NMS, for speed: a weaker box cannot suppress a stronger one
    boxes, scores = boxes[candidates], scores[candidates]
    # Upstream counts overlap in whole pixels, including both border pixels.
    inclusive = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    best = nms(inclusive, scores, MAX_OVERLAP)
    return boxes[best], scores[best]


def _decode_level(conf: Tensor, offsets: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    rows, columns = conf.shape[-2:]
    y = stride * (torch.arange(rows, device=conf.device) + 0.5)
    x = stride * (torch.arange(columns, device=conf.device) + 0.5)
    priors = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # (2, h, w): x, y of cell centers
    size = PRIOR_SIZE * stride  # pixels
    centers = priors + CENTER_VARIANCE * size * offsets[:, :2]  # (B, 2, h, w)
    halves = size * torch.exp(SIZE_VARIANCE * offsets[:, 2:]) / 2  # (B, 2, h, w): half width, half height
    boxes = torch.cat([centers - halves, centers + halves], dim=1).flatten(2).transpose(1, 2)  # (B, h * w, 4)
    return boxes, conf.softmax(dim=1)[:, 1].flatten(1)


def _to_faces(boxes: Tensor, scores: Tensor, scale: float) -> list[Face]:
    boxes = (boxes * scale).clamp(min=0)
    rows = zip(boxes.tolist(), scores.tolist(), strict=True)
    return [Face((left, top, right, bottom), score) for (left, top, right, bottom), score in rows]


def _load_network(weights: Mapping[str, Tensor] | Path) -> S3FDNetwork:
    source = f"{weights}" if isinstance(weights, Path) else "state_dict"
    state = _load_file(weights) if isinstance(weights, Path) else weights
    network = S3FDNetwork()
    message = f"{source}: not the weights of S3FD; remove it or give the file s3fd-619a316812.pth"
    if not isinstance(state, Mapping):
        raise DetectorError(message)
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:  # other keys or shapes, or values that are not tensors
        raise DetectorError(message) from error
    return network


def _load_file(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DetectorError(f"{path}: cannot be opened ({error}); give a readable file of S3FD weights") from error
    except UNREADABLE as error:
        raise DetectorError(
            f"{path}: not a weights file of S3FD, or corrupt; remove it or download it again"
        ) from error
