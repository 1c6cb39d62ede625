"""Losses over all pairs of audio and mouth windows of the same clip in a batch: many negatives for each sample.

Mouths of other clips do not count, because it is easier to recognize different people than to learn sync.
Letters: B samples (of all processes together), D embedding dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.index import CLIP_STRIDE

COSINE_MARGIN = 1e-6  # minimum distance from cosines 0 and 1, where the gradient of the logarithm is unbounded
MASKED_LOGIT = -1e9  # finite, so that a row without any pair gives no NaN


@dataclass(frozen=True)
class PairwiseSimilarity:
    """Cosine similarities of audio (rows) and mouths (columns), with masks of positive and negative pairs."""

    cosine: Tensor  # (B, B) float32 or wider
    positive: Tensor  # (B, B) bool: the same window
    negative: Tensor  # (B, B) bool: windows of one clip that are far enough apart

    @classmethod
    def from_embeddings(
        cls, audio: Tensor, face: Tensor, audio_position: Tensor, face_position: Tensor, min_negative_offset: int
    ) -> PairwiseSimilarity:
        """Compare all embeddings (B, D) of a batch.

        audio_position, face_position: (B,) int64 from train.data.index.to_position.
        min_negative_offset: frames between two windows of one clip from which on they are a negative pair.
        """
        wide = torch.promote_types(audio.dtype, torch.float32)
        with torch.autocast(audio.device.type, enabled=False):
            cosine = F.normalize(audio.to(wide), dim=1) @ F.normalize(face.to(wide), dim=1).T
        distance = (audio_position[:, None] - face_position[None]).abs()  # frames; across clips beyond any clip length
        return cls(cosine, distance == 0, (distance >= min_negative_offset) & (distance < CLIP_STRIDE // 2))

    def cross_entropy(self) -> Tensor:
        """Binary cross-entropy, the mean over positive and the mean over negative pairs weighted equally."""
        probability = self.cosine.clamp(COSINE_MARGIN, 1 - COSINE_MARGIN)
        positive = _masked_mean(-probability.log(), self.positive)
        negative = _masked_mean(-(1 - probability).log(), self.negative)
        return (positive + negative) / 2

    def info_nce(self, temperature: float) -> Tensor:
        """InfoNCE from audio to mouth and back (van den Oord et al. 2018, equation 4; symmetric as in CLIP).

        Chance level is the logarithm of the number of candidates.
        """
        diagonal = torch.eye(len(self.cosine), dtype=torch.bool, device=self.cosine.device)
        logits = (self.cosine / temperature).masked_fill(~(diagonal & self.positive | self.negative), MASKED_LOGIT)
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values in the mask; 0 if it is empty."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
