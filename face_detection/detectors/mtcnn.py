"""MTCNN (Zhang et al. 2016): a cascade of three small networks, with the weights of an installed package.

K: number of windows in all images of a batch; image_ids (K,) is the image of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from face_detection.adaptive_batch import AdaptiveBatcher
from face_detection.box_ops import batched_nms, roi_align
from face_detection.detectors.mtcnn_network import (
    ONET_SIZE,
    PNET_SIZE,
    PNET_STRIDE,
    RNET_SIZE,
    CascadeNet,
    onet,
    pnet,
    rnet,
)
from face_detection.detectors.mtcnn_weights import FILES, load_weights
from face_detection.hashing import hash_weights
from face_detection.interface import DetectorError, Face
from face_detection.resize import downscale_to

MAX_SIDE = 480  # pixels to which larger images are downscaled
MIN_SIDE = 28  # pixels of the downscaled image: smallest window
LEVEL_STEP = 0.709  # ratio of neighboring pyramid levels; halves the area
MIN_SCORES = (0.6, 0.7, 0.7)  # probabilities required by P-Net, R-Net and O-Net
MIN_MEAN_SCORE = 0.9  # mean of O-Net over shifted windows, see docs/face_boxes.md
# NMS thresholds within a level, over all levels, and after R-Net. Windows of a level that are 4 of its pixels apart
# overlap by exactly 0.5; that threshold would leave them to rounding, which depends on the batch.
MAX_OVERLAPS = (0.51, 0.7, 0.7)
SAME_FACE_IOU = 0.4

# O-Net's output changes with the position of its window; the mean over shifted windows is stable.
SHIFTS = (-0.06, 0.0, 0.06)  # fractions of the window's side, in both directions
REFINE_ROUNDS = 2  # evaluations of each face, each at the boxes of the previous one

ROI_SAMPLES = 3  # bilinear samples along each axis for a pixel of a crop; sampling all pixels takes twice as long
MAX_CROPS = 1024  # per forward pass: bounds the memory for an image with many proposals


class MTCNN:
    """Detect faces and five landmarks in batches, on any torch device; also rotated and tilted faces."""

    name = "mtcnn"

    def __init__(
        self, weights: Path, device: str | torch.device = "cpu", batch_size: int = 8, max_side: int = MAX_SIDE
    ):
        """weights: folder with the three files.

        batch_size: images per batch; halved permanently when the device runs out of memory.
        max_side: pixels to which the longer side of larger images is downscaled for detection.
        """
        if batch_size < 1:
            raise DetectorError(f"batch_size={batch_size}: must be at least 1")
        self.device = torch.device(device)
        self.batcher = AdaptiveBatcher(batch_size, "MTCNN", "images")
        self.max_side = max_side
        self.pnet, self.rnet, self.onet = (
            load_weights(network, weights / name).to(self.device).eval().requires_grad_(False)
            for network, name in zip((pnet(), rnet(), onet()), FILES, strict=True)
        )

    @cached_property
    def fingerprint(self) -> str:
        """Identifier of everything that the detections depend on."""
        return f"{self.name}, max_side {self.max_side}, {hash_weights(self.pnet, self.rnet, self.onet)}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Detect faces with landmarks.

        frames: images (H, W, 3) uint8 RGB, all of one size.
        Returns: the faces of each image by decreasing score. Boxes have S3FD's geometry without calibration, see
            docs/face_boxes.md; they do not start left of or above the image, but may end outside it.
        """
        batches = self.batcher(len(frames), lambda batch: self._detect_batch(frames[batch]))
        return [faces for batch in batches for faces in batch]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        small, (scale, *_) = zip(*(downscale_to(frame, self.max_side) for frame in frames), strict=True)
        images = torch.from_numpy(np.stack(small)).to(self.device).permute(0, 3, 1, 2).float()
        image_ids, boxes = self._propose(images)
        image_ids, boxes = self._refine(images, image_ids, boxes)
        image_ids, boxes = self._decide(images, image_ids, boxes)
        image_ids, boxes, scores, landmarks = self._stabilize(images, image_ids, boxes)
        rows = (tensor.tolist() for tensor in (image_ids, boxes.clamp(min=0) * scale, scores, landmarks * scale))
        faces: list[list[Face]] = [[] for _ in frames]
        for image_id, box, score, points in zip(*rows, strict=True):
            faces[image_id].append(Face(tuple(box), score, tuple((x, y) for x, y in points)))
        return faces

    def _propose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run P-Net on an image pyramid; returns image_ids (K,) and square boxes (K, 4)."""
        levels = [self._propose_at(images, scale) for scale in _pyramid_scales(images)]
        if not levels:
            return images.new_zeros(0, dtype=torch.long), images.new_zeros(0, 4)
        image_ids, windows, boxes, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
        best = batched_nms(windows, scores, image_ids, MAX_OVERLAPS[1])
        return image_ids[best], _square(boxes[best])

    def _propose_at(self, images: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run P-Net on one pyramid level; returns image_ids, windows, the boxes regressed from them, log-odds."""
        height, width = images.shape[-2:]
        size = (math.ceil(height * scale), math.ceil(width * scale))
        level = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        output = self.pnet(_normalize(level))
        image_ids, rows, columns = torch.nonzero(output.log_odds > _log_odds(MIN_SCORES[0]), as_tuple=True)
        scores, offsets = output.log_odds[image_ids, rows, columns], output.offsets[image_ids, :, rows, columns]
        corners = PNET_STRIDE * torch.stack([columns, rows], dim=1)
        pixel_size = images.new_tensor([width / size[1], height / size[0]]).repeat(2)  # level to image
        windows = torch.cat([corners, corners + PNET_SIZE], dim=1) * pixel_size
        best = batched_nms(windows, scores, image_ids, MAX_OVERLAPS[0])
        return image_ids[best], windows[best], _apply_offsets(windows, offsets)[best], scores[best]

    def _refine(self, images: Tensor, image_ids: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Run R-Net; returns image_ids (K,) and square boxes (K, 4) of the remaining windows."""
        log_odds, boxes, _ = _run_on_windows(self.rnet, RNET_SIZE, images, image_ids, windows)
        best = _select(windows, log_odds, image_ids, _log_odds(MIN_SCORES[1]), MAX_OVERLAPS[2])
        return image_ids[best], _square(boxes[best])

    def _decide(self, images: Tensor, image_ids: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Run O-Net; returns image_ids (K,) and boxes (K, 4), each face once."""
        log_odds, boxes, _ = _run_on_windows(self.onet, ONET_SIZE, images, image_ids, windows)
        best = _select(boxes, log_odds, image_ids, _log_odds(MIN_SCORES[2]), SAME_FACE_IOU)
        return image_ids[best], boxes[best]

    def _stabilize(self, images: Tensor, image_ids: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Average O-Net over shifted windows; returns image_ids, boxes, scores, landmarks (K, 5, 2)."""
        shifts = torch.cartesian_prod(*[boxes.new_tensor(SHIFTS)] * 2).repeat(1, 2)  # (S, 4)
        repeated_ids = image_ids.repeat_interleave(len(shifts))
        for _ in range(REFINE_ROUNDS):
            squares = _square(boxes)[:, None]  # (K, 1, 4)
            windows = (squares + shifts * _sides(squares)).flatten(0, 1)  # (K * S, 4)
            log_odds, *geometry = _run_on_windows(self.onet, ONET_SIZE, images, repeated_ids, windows)
            outputs = (tensor.unflatten(0, (len(image_ids), len(shifts))) for tensor in (log_odds.sigmoid(), *geometry))
            scores, boxes, landmarks = (tensor.mean(dim=1) for tensor in outputs)
        best = _select(boxes, scores, image_ids, MIN_MEAN_SCORE, SAME_FACE_IOU)
        return image_ids[best], boxes[best], scores[best], landmarks[best]


def _pyramid_scales(images: Tensor) -> Iterator[float]:
    """Yield the scales of the pyramid's levels, the largest first."""
    scale = PNET_SIZE / MIN_SIDE
    while min(images.shape[-2:]) * scale >= PNET_SIZE:
        yield scale
        scale *= LEVEL_STEP


def _run_on_windows(
    network: CascadeNet, size: int, images: Tensor, image_ids: Tensor, windows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a network on square windows; returns log-odds (K,), boxes (K, 4), landmarks (K, 5, 2) or (K, 0, 2)."""
    rois = torch.cat([image_ids[:, None].to(windows), windows], dim=1)
    outputs = [network(_normalize(roi_align(images, chunk, size, ROI_SAMPLES))) for chunk in rois.split(MAX_CROPS)]
    log_odds, offsets, landmarks = (torch.cat(parts)[..., 0, 0] for parts in zip(*outputs, strict=True))
    relative = landmarks.unflatten(1, (2, -1)).transpose(1, 2)  # five x, five y -> five pairs
    return log_odds, _apply_offsets(windows, offsets), windows[:, None, :2] + relative * _sides(windows)[:, None, :2]


def _select(boxes: Tensor, scores: Tensor, image_ids: Tensor, min_score: float, max_overlap: float) -> Tensor:
    """Return the indices of boxes with more than `min_score` after NMS within each image, best first."""
    candidates = torch.nonzero(scores > min_score)[:, 0]
    return candidates[batched_nms(boxes[candidates], scores[candidates], image_ids[candidates], max_overlap)]


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _normalize(images: Tensor) -> Tensor:
    """Map 0..255 to [-1, 1]."""
    return (images - 127.5) / 128


def _sides(boxes: Tensor) -> Tensor:
    """Return width, height, width, height of boxes (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).repeat(*[1] * (boxes.dim() - 1), 2)


def _apply_offsets(windows: Tensor, offsets: Tensor) -> Tensor:
    """Move each edge of windows (K, 4) by offsets (K, 4) in sides of the window."""
    return windows + offsets * _sides(windows)


def _square(boxes: Tensor) -> Tensor:
    """Return squares with the same centers, as wide as each box's longer side."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centers - halves, centers + halves], dim=1)
