"""RetinaFace on ResNet-50 (Deng et al., CVPR 2020), SadTalker's detector: faces with five landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from face_detection.adaptive_batch import AdaptiveBatcher
from face_detection.box_ops import nms
from face_detection.detectors.s3fd import CENTER_VARIANCE, SIZE_VARIANCE, normalize_images
from face_detection.hashing import hash_weights
from face_detection.interface import Face
from face_detection.resize import downscale_to
from models.retinaface import RetinaFace as RetinaFaceNetwork

ANCHORS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))  # stride and sides of the squares in a cell, in pixels
MIN_SCORE = 0.97  # exclusive
MAX_OVERLAP = 0.4  # NMS threshold
MAX_SIDE = 1280  # pixels; photos of phones have 4000 and more, whose faces are large


class RetinaFace:
    """Detect faces with RetinaFace in batches, on any torch device; see `face_detection.interface.Detector`."""

    name = "retinaface"

    def __init__(
        self, network: RetinaFaceNetwork, device: str | torch.device = "cpu", batch_size: int = 8, compat: str = "none"
    ):
        """compat: "public" for images at their full size and RGB with the means of BGR, as SadTalker has them;
        otherwise BGR, and images whose longer side exceeds `MAX_SIDE` are downscaled.
        """
        self.device, self.compat = torch.device(device), compat
        self.batcher = AdaptiveBatcher(batch_size, "RetinaFace", "images")
        network = network.eval().requires_grad_(False)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of everything that the detections depend on."""
        return f"{self.name} {self.compat}, max_side {MAX_SIDE}, {hash_weights(self.network)}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces.

        frames: images (H, W, 3) uint8 RGB, all of one size.
        Returns: the faces of each image by decreasing score; boxes and landmarks may be outside of it.
        """
        batches = self.batcher(len(frames), lambda batch: self._detect_batch(frames[batch]))
        return [faces for batch in batches for faces in batch]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        max_side = max(frames[0].shape) if self.compat == "public" else MAX_SIDE
        small = [downscale_to(frame, max_side) for frame in frames]
        images = torch.from_numpy(np.stack([image for image, _ in small])).to(self.device)
        offsets, classes, points = self.network(normalize_images(images, self.compat))
        height, width = images.shape[1:3]
        priors = prior_boxes(height, width, self.device)
        decoded = zip(decode_boxes(offsets, priors), classes[..., 1], decode_landmarks(points, priors), strict=True)
        return [_to_faces(*parts, scale) for parts, (_, scale) in zip(decoded, small, strict=True)]


def prior_boxes(height: int, width: int, device: torch.device) -> Tensor:
    """Return center x, center y and side of the prior boxes of an image in pixels, (N, 3) float32.

    Level by level, row by row, the boxes of a cell from small to large; cells at the right and bottom edges may
    exceed the image.
    """
    levels = []
    for stride, sides in ANCHORS:
        rows, columns = (torch.arange(-(-size // stride), device=device) for size in (height, width))
        y, x = torch.meshgrid((rows + 0.5) * stride, (columns + 0.5) * stride, indexing="ij")
        levels += [torch.stack([torch.stack([x, y, torch.full_like(x, side)], -1) for side in sides], -2).flatten(0, 2)]
    return torch.cat(levels)


def decode_boxes(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return left, top, right, bottom in pixels: (B, N, 4) offsets of center and logarithm of the size -> (B, N, 4)."""
    centers = priors[:, :2] + CENTER_VARIANCE * priors[:, 2:] * offsets[..., :2]
    halves = priors[:, 2:] * torch.exp(SIZE_VARIANCE * offsets[..., 2:]) / 2
    return torch.cat([centers - halves, centers + halves], dim=-1)


def decode_landmarks(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return eyes, nose tip and mouth corners in pixels: (B, N, 10) offsets -> (B, N, 5, 2)."""
    return priors[:, None, :2] + CENTER_VARIANCE * priors[:, None, 2:] * offsets.unflatten(-1, (5, 2))


def _to_faces(boxes: Tensor, scores: Tensor, landmarks: Tensor, scale: float) -> list[Face]:
    """Return the faces of one image after NMS. scale: pixels of the image per pixel that the network sees."""
    candidates = scores > MIN_SCORE  # before NMS, for speed: a weaker box cannot suppress a stronger one
    boxes, scores, landmarks = boxes[candidates], scores[candidates], landmarks[candidates]
    best = nms(boxes, scores, MAX_OVERLAP)
    rows = zip((boxes[best] * scale).tolist(), scores[best].tolist(), (landmarks[best] * scale).tolist(), strict=True)
    return [
        Face((left, top, right, bottom), score, tuple((x, y) for x, y in points))
        for (left, top, right, bottom), score, points in rows
    ]
