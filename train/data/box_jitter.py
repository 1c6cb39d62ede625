"""Box jitter: crops as boxes of another detector or other pads would cut them, a second line of defense.

Each edge of a sample's box moves by a random share of the crop, equally in its target and reference frames, so that
motion over time stays true. Beyond the crop its edge pixels are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.index import CounterRNG
from train.data.samples import BatchDataset, GeneratorBatch
from train.data.sources import ReadCost

STREAM = 1 << 32  # random stream of the jitter; samples use lower ones
WORD_RANGE = float(1 << 63)


@dataclass(frozen=True)
class JitteredDataset:
    """Samples of the generator with jittered boxes, a function of the seed and the sample number."""

    dataset: BatchDataset
    share: float  # largest move of an edge in crop sizes, in [0, 0.5)
    seed: int

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.dataset.clips

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""
        return self.dataset.read_cost

    def __getitems__(self, numbers: Sequence[int]) -> GeneratorBatch:
        """Read the batch of the samples with these numbers."""
        batch: GeneratorBatch = self.dataset.__getitems__(numbers)
        words = CounterRNG(self.seed, STREAM).draw(numbers)
        edges = self.share * (2 * words.double() / WORD_RANGE - 1)  # (B, 4): left, top, right, bottom
        frames = torch.cat([batch.target, batch.reference], dim=1)
        target, reference = move_edges(frames, edges.float().to(frames.device)).chunk(2, dim=1)
        return batch._replace(target=target, reference=reference)


def move_edges(frames: Tensor, edges: Tensor) -> Tensor:
    """Cut crops again with moved edges, bilinearly, at the same size.

    frames: (B, T, S, S, 3) uint8. edges: (B, 4) float32, by which left, top, right and bottom move right or down, in
        shares of the size.
    """
    count, time = frames.shape[:2]
    low, high = -1 + 2 * edges[:, :2], 1 + 2 * edges[:, 2:]  # x and y in [-1, 1] across the crop
    theta = torch.zeros(count, 2, 3, device=frames.device)
    theta[:, [0, 1], [0, 1]] = (high - low) / 2
    theta[:, :, 2] = (high + low) / 2
    images = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float()  # (B, T * 3, S, S)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, "bilinear", "border", align_corners=False)
    return moved.unflatten(1, (time, 3)).permute(0, 1, 3, 4, 2).round().to(torch.uint8).contiguous()
