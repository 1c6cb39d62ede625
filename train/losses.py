"""What the trainers minimise, as pure functions of tensors (Prajwal et al. 2020, sections 3.2 to 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def agreement(audio: Tensor, face: Tensor) -> Tensor:
    """Cosine of the expert's embeddings (B, D), as a probability in [0, 1], (B, 1), in float32 or wider.

    Rounding takes the cosine of equal unit vectors a little above 1, where cross-entropy is not defined.
    """
    wide = torch.promote_types(audio.dtype, torch.float32)
    return F.cosine_similarity(audio.to(wide), face.to(wide), dim=1, eps=1e-8).clamp(0, 1).unsqueeze(1)


def cross_entropy(probability: Tensor, truth: Tensor | float) -> Tensor:
    """Mean binary cross-entropy of probabilities in [0, 1]; logarithms are cut at -100, so it stays finite.

    truth: the same shape, or one number for all.
    """
    if not isinstance(truth, Tensor):
        truth = torch.full_like(probability, truth)
    with torch.autocast(probability.device.type, enabled=False):  # 16 bits would round a confident answer to 1
        return F.binary_cross_entropy(probability, truth.to(probability.dtype))


def sync_loss(audio: Tensor, face: Tensor, label: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of the expert's agreement; label 1 where sound and mouth belong together, else 0."""
    return cross_entropy(agreement(audio, face), label)


def mouth_l1(fake: Tensor, real: Tensor, weight: float) -> Tensor:
    """Mean absolute difference of frames (..., H, W), with a weight for pixels of the lower half, the part repainted.

    weight: relative to a pixel of the upper half; the weights' mean is 1, and at 1 this is the plain L1 loss.
    """
    if weight == 1:
        return F.l1_loss(fake, real)
    half = fake.shape[-2] // 2
    upper = F.l1_loss(fake[..., :half, :], real[..., :half, :])
    lower = F.l1_loss(fake[..., half:, :], real[..., half:, :])
    return (upper + weight * lower) / (1 + weight)
