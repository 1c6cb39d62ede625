"""Augmentation of the training samples: other boxes, mirrored faces, other colors and other voices.

All frames of a sample change equally, so that motion over time, the identity and the sync with the audio stay true.
Each change is a function of the seed and the sample number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.index import CounterRNG
from train.data.samples import BatchDataset
from train.data.sources import ReadCost

BOX_STREAM = 1 << 32  # random stream; samples use lower ones
FLIP_STREAM, COLOR_STREAM, MEL_STREAM = BOX_STREAM + 1, BOX_STREAM + 2, BOX_STREAM + 3
WORD_RANGE = float(1 << 63)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the frames and of the audio of a sample."""

    box_jitter: float = 0.0  # largest move of an edge of the box, in crop sizes, in [0, 0.5)
    flip: float = 0.0  # probability of a mirrored face
    color_jitter: float = 0.0  # largest relative change of each color channel, in [0, 1)
    mel_shift: int = 0  # largest shift of the mel spectrogram along frequency, in bands

    def __bool__(self) -> bool:
        return any((self.box_jitter, self.flip, self.color_jitter, self.mel_shift))

    def apply_to_mels(self, mels: Tensor, numbers: Sequence[int], seed: int) -> Tensor:
        """Shift the mels (B, K, 80, 16) of the samples with these numbers along frequency, as another voice would."""
        if not self.mel_shift:
            return mels
        words = CounterRNG(seed, MEL_STREAM).draw(numbers)[:, 0]
        return shift_bands(mels, (words % (2 * self.mel_shift + 1) - self.mel_shift).to(mels.device))

    def apply_to_frames(self, frames: Tensor, numbers: Sequence[int], seed: int) -> Tensor:
        """Change the frames (B, T, S, S, 3) uint8 RGB of the samples with these numbers."""
        if self.box_jitter:
            frames = move_edges(frames, self.box_jitter * draw_signed(numbers, seed, BOX_STREAM).to(frames.device))
        if self.flip:
            is_flipped = CounterRNG(seed, FLIP_STREAM).draw(numbers)[:, 0].double() / WORD_RANGE < self.flip
            frames = torch.where(is_flipped.to(frames.device)[:, None, None, None, None], frames.flip(3), frames)
        if self.color_jitter:
            gains = 1 + self.color_jitter * draw_signed(numbers, seed, COLOR_STREAM)[:, :3].to(frames.device)
            frames = scale_channels(frames, gains)
        return frames


@dataclass(frozen=True)
class AugmentedDataset:
    """Samples with augmented audio, and with augmented frames from the batch of sample number `first` on."""

    dataset: BatchDataset
    augmentation: Augmentation
    seed: int
    first: int = 0

    @property
    def clips(self) -> Sequence[str]:
        """Paths of the clips."""
        return self.dataset.clips

    @property
    def read_cost(self) -> ReadCost:
        """Cost of reading a batch."""
        return self.dataset.read_cost

    def __getitems__(self, numbers: Sequence[int]) -> Any:
        """Read the batch of the samples with these numbers."""
        batch = self.dataset.__getitems__(numbers)
        batch = batch.map_mels(lambda mels: self.augmentation.apply_to_mels(mels, numbers, self.seed))
        if max(numbers) < self.first:
            return batch
        return batch.map_frames(lambda frames: self.augmentation.apply_to_frames(frames, numbers, self.seed))


def draw_signed(numbers: Sequence[int], seed: int, stream: int) -> Tensor:
    """Return four random values in [-1, 1) for each sample number, (B, 4) float32."""
    return (2 * CounterRNG(seed, stream).draw(numbers).double() / WORD_RANGE - 1).float()


def move_edges(frames: Tensor, edges: Tensor) -> Tensor:
    """Cut crops again with moved edges, bilinearly, at the same size; beyond the crop its edge pixels are repeated.

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


def scale_channels(frames: Tensor, gains: Tensor) -> Tensor:
    """Multiply the color channels of frames (B, T, S, S, 3) uint8 by gains (B, 3), clipped at 255."""
    return (frames * gains[:, None, None, None, :]).round_().clamp_(max=255).to(torch.uint8)


def shift_bands(mels: Tensor, bands: Tensor) -> Tensor:
    """Move mels (B, K, 80, 16) up by bands (B,) int64, negative: down; the outermost band is repeated.

    A coarse form of vocal tract length perturbation (Jaitly and Hinton 2013): a smaller speaker has higher formants.
    """
    count = mels.shape[2]
    sources = (torch.arange(count, device=mels.device) - bands[:, None]).clamp(0, count - 1)
    return mels.gather(2, sources[:, None, :, None].expand_as(mels))
