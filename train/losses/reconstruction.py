"""Reconstruction loss: L1, optionally with more weight on the lower half, which the generator paints."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mouth_weighted_l1(fake: Tensor, real: Tensor, mouth_weight: float) -> Tensor:
    """Weighted mean absolute difference of frames (..., H, W).

    mouth_weight: weight of a pixel of the lower half relative to the upper half, above 0. Weights are normalized to a
        mean of 1, so that 1 gives the plain L1 loss.
    """
    if mouth_weight == 1:
        return F.l1_loss(fake, real)
    half = fake.shape[-2] // 2
    upper = F.l1_loss(fake[..., :half, :], real[..., :half, :])
    lower = F.l1_loss(fake[..., half:, :], real[..., half:, :])
    return (upper + mouth_weight * lower) / (1 + mouth_weight)
