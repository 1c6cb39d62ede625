"""MTCNN (Zhang et al. 2016): three small networks, one after the other, whose weights come with an installed package.

K is the number of windows under judgement, of all pictures of a batch together; owners (K,) say whose each one is.
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

from face_detection.box_ops import batched_nms, roi_align
from face_detection.fingerprint import digest_of
from face_detection.interface import DetectorError, Face
from face_detection.mtcnn_network import (
    OUTPUT_SIDE,
    PROPOSAL_SIDE,
    REFINEMENT_SIDE,
    STRIDE,
    Judge,
    output_network,
    proposal_network,
    refinement_network,
)
from face_detection.mtcnn_weights import FILES, load_weights
from face_detection.portions import Portions
from face_detection.working_size import shrunk

MAX_SIDE = 480  # pixels: larger pictures are shrunk
MIN_SIDE = 28  # pixels of the shrunk picture: smallest square that is looked for
LEVEL_STEP = 0.709  # size of a level of the pyramid over that of the level before; halves the area
MIN_SCORES = (0.6, 0.7, 0.7)  # of the three networks, as probabilities: a window that scores less goes
MIN_SCORE = 0.9  # mean over the windows of a settled face, see docs/face_boxes.md
# The weaker of two windows that overlap more goes: in a level, in all, when refined. Windows of a level that are 4 of
# its pixels apart overlap by exactly 0.5, which would leave them to rounding, and that depends on the batch.
MAX_OVERLAPS = (0.51, 0.7, 0.7)
SAME_FACE = 0.4  # the weaker of two faces that overlap more goes

# The last network's answer changes with the window it is asked about; the mean over shifted windows is steady.
SHIFTS = (-0.06, 0.0, 0.06)  # across and down, in sides of the window
ROUNDS = 2  # times that a face is asked about anew, each from the box of the time before

SAMPLES = 3  # bilinear samples across and down for each pixel of a crop; all pixels cost twice the time for no more
CROPS = 1024  # judged at a time: bounds the memory that a picture full of proposals takes


class MTCNN:
    """Finds faces and five points of each, in batches, on any torch device; turned and tilted ones too."""

    name = "mtcnn"

    def __init__(
        self, weights: Path, device: str | torch.device = "cpu", batch_size: int = 8, max_side: int = MAX_SIDE
    ):
        """weights: folder with the three files.

        batch_size: pictures at a time; halved for good when the device runs out of memory.
        max_side: longer side in pixels to which larger pictures are shrunk for detection.
        """
        if batch_size < 1:
            raise DetectorError(f"batch_size is {batch_size}; MTCNN needs at least 1 picture at a time")
        self.device = torch.device(device)
        self.portions = Portions(batch_size, "MTCNN", "pictures")
        self.max_side = max_side
        self.proposing, self.refining, self.deciding = (
            load_weights(network, weights / name).to(self.device).eval().requires_grad_(False)
            for network, name in zip((proposal_network(), refinement_network(), output_network()), FILES, strict=True)
        )

    @cached_property
    def fingerprint(self) -> str:
        """What the faces that are found depend on."""
        weights = digest_of(self.proposing, self.refining, self.deciding)
        return f"{self.name}, shrunk to {self.max_side}, {weights}"

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        """Find faces.

        frames: pictures (H, W, 3) uint8 RGB, all of one size.
        Returns: for each picture its faces with landmarks, the most certain first. Boxes have S3FD's geometry, which
            needs no calibration, see docs/face_boxes.md. None starts left of or above the picture, but it may end
            beyond it.
        """
        batches = self.portions(len(frames), lambda part: self._detect_batch(frames[part]))
        return [faces for batch in batches for faces in batch]

    @torch.inference_mode()
    def _detect_batch(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        small, (scale, *_) = zip(*(shrunk(frame, self.max_side) for frame in frames), strict=True)
        pictures = torch.from_numpy(np.stack(small)).to(self.device).permute(0, 3, 1, 2).float()
        owners, boxes = self._propose(pictures)
        owners, boxes = self._refine(pictures, owners, boxes)
        owners, boxes = self._decide(pictures, owners, boxes)
        owners, boxes, scores, points = self._settle(pictures, owners, boxes)
        rows = (part.tolist() for part in (owners, boxes.clamp(min=0) * scale, scores, points * scale))
        found: list[list[Face]] = [[] for _ in frames]
        for owner, box, score, landmarks in zip(*rows, strict=True):
            found[owner].append(Face(tuple(box), score, tuple((x, y) for x, y in landmarks)))
        return found

    def _propose(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Squares that may hold a face: owners (K,) and boxes (K, 4)."""
        levels = [self._propose_at(pictures, scale) for scale in _scales(pictures)]
        if not levels:
            return pictures.new_zeros(0, dtype=torch.long), pictures.new_zeros(0, 4)
        owners, windows, boxes, scores = (torch.cat(parts) for parts in zip(*levels, strict=True))
        kept = batched_nms(windows, scores, owners, MAX_OVERLAPS[1])
        return owners[kept], _square(boxes[kept])

    def _propose_at(self, pictures: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Likely windows of one level of the pyramid: owners, windows, boxes that they point to, log-odds."""
        height, width = pictures.shape[-2:]
        size = (math.ceil(height * scale), math.ceil(width * scale))
        level = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False, antialias=True)
        judged = self.proposing(_normal(level))
        owners, rows, columns = torch.nonzero(judged.log_odds > _log_odds(MIN_SCORES[0]), as_tuple=True)
        scores, offsets = judged.log_odds[owners, rows, columns], judged.offsets[owners, :, rows, columns]
        corners = STRIDE * torch.stack([columns, rows], dim=1)
        pixel = pictures.new_tensor([width / size[1], height / size[0]]).repeat(2)  # one of the level, in the picture's
        windows = torch.cat([corners, corners + PROPOSAL_SIDE], dim=1) * pixel
        kept = batched_nms(windows, scores, owners, MAX_OVERLAPS[0])
        return owners[kept], windows[kept], _moved(windows, offsets)[kept], scores[kept]

    def _refine(self, pictures: Tensor, owners: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The squares that still may hold a face, closer to it: owners (K,) and boxes (K, 4)."""
        log_odds, boxes, _ = _judge(self.refining, REFINEMENT_SIDE, pictures, owners, windows)
        kept = _strongest(windows, log_odds, owners, _log_odds(MIN_SCORES[1]), MAX_OVERLAPS[2])
        return owners[kept], _square(boxes[kept])

    def _decide(self, pictures: Tensor, owners: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The faces, each once: owners (K,) and boxes (K, 4)."""
        log_odds, boxes, _ = _judge(self.deciding, OUTPUT_SIDE, pictures, owners, windows)
        kept = _strongest(boxes, log_odds, owners, _log_odds(MIN_SCORES[2]), SAME_FACE)
        return owners[kept], boxes[kept]

    def _settle(self, pictures: Tensor, owners: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The faces that stay when looked at from all sides: owners, boxes, scores, and points (K, 5, 2)."""
        shifts = torch.cartesian_prod(*[boxes.new_tensor(SHIFTS)] * 2).repeat(1, 2)  # (S, 4)
        views = owners.repeat_interleave(len(shifts))
        for _ in range(ROUNDS):
            squares = _square(boxes)[:, None]  # (K, 1, 4)
            windows = (squares + shifts * _sides(squares)).flatten(0, 1)  # (K * S, 4)
            log_odds, *shapes = _judge(self.deciding, OUTPUT_SIDE, pictures, views, windows)
            answers = (part.unflatten(0, (len(owners), len(shifts))) for part in (log_odds.sigmoid(), *shapes))
            scores, boxes, points = (part.mean(dim=1) for part in answers)
        kept = _strongest(boxes, scores, owners, MIN_SCORE, SAME_FACE)
        return owners[kept], boxes[kept], scores[kept], points[kept]


def _scales(pictures: Tensor) -> Iterator[float]:
    """Sizes of the pyramid's levels over that of the pictures, the largest first."""
    scale = PROPOSAL_SIDE / MIN_SIDE
    while min(pictures.shape[-2:]) * scale >= PROPOSAL_SIDE:
        yield scale
        scale *= LEVEL_STEP


def _judge(
    network: Judge, side: int, pictures: Tensor, owners: Tensor, windows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a network says of square windows: log-odds (K,), boxes (K, 4) and points (K, 5, 2), or (K, 0, 2) without."""
    regions = torch.cat([owners[:, None].to(windows), windows], dim=1)
    answers = [network(_normal(roi_align(pictures, chunk, side, SAMPLES))) for chunk in regions.split(CROPS)]
    log_odds, offsets, points = (torch.cat(parts)[..., 0, 0] for parts in zip(*answers, strict=True))
    relative = points.unflatten(1, (2, -1)).transpose(1, 2)  # five x, five y -> five pairs
    return log_odds, _moved(windows, offsets), windows[:, None, :2] + relative * _sides(windows)[:, None, :2]


def _strongest(boxes: Tensor, scores: Tensor, owners: Tensor, min_score: float, max_overlap: float) -> Tensor:
    """Which boxes score more than `min_score` and overlap no stronger one of their picture; the strongest first."""
    likely = torch.nonzero(scores > min_score)[:, 0]
    return likely[batched_nms(boxes[likely], scores[likely], owners[likely], max_overlap)]


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _normal(pictures: Tensor) -> Tensor:
    """0..255 as the networks take it."""
    return (pictures - 127.5) / 128


def _sides(boxes: Tensor) -> Tensor:
    """Width, height, width, height of boxes (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).repeat(*[1] * (boxes.dim() - 1), 2)


def _moved(windows: Tensor, offsets: Tensor) -> Tensor:
    """Windows (K, 4) with each edge moved by so many sides."""
    return windows + offsets * _sides(windows)


def _square(boxes: Tensor) -> Tensor:
    """Squares around the same centres, as wide as each box's longer side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centres - halves, centres + halves], dim=1)
