"""Sync loss: binary cross-entropy of the cosine similarity of audio and face embeddings (Prajwal et al. 2020, 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def match_probability(audio: Tensor, face: Tensor) -> Tensor:
    """Cosine similarity of embeddings (B, D), clamped to [0, 1] as a probability (B, 1), in float32 or wider.

    Rounding takes the cosine of equal unit vectors slightly above 1, where cross-entropy is undefined.
    """
    wide = torch.promote_types(audio.dtype, torch.float32)
    return F.cosine_similarity(audio.to(wide), face.to(wide), dim=1, eps=1e-8).clamp(0, 1).unsqueeze(1)


def binary_cross_entropy(probability: Tensor, target: Tensor | float) -> Tensor:
    """Mean binary cross-entropy of probabilities in [0, 1]; torch clamps logarithms at -100, so it stays finite.

    target: of the same shape, or one number for all.
    """
    if not isinstance(target, Tensor):
        target = torch.full_like(probability, target)
    with torch.autocast(probability.device.type, enabled=False):  # 16 bits would round a confident answer to 1
        return F.binary_cross_entropy(probability, target.to(probability.dtype))


def sync_loss(audio: Tensor, face: Tensor, label: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of the match probability of embeddings (B, D); label: 1 where audio and mouth match, else 0."""
    return binary_cross_entropy(match_probability(audio, face), label)
