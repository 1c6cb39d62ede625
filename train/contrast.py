"""Every sound of a batch against every mouth of the same clip in it: many wrong pairs for each sample.

Mouths of other clips are left out: that a voice is not of a face is no question of sync, and easier to learn.

Letters: B samples (of all processes together), D numbers in an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.draws import FURTHER

EDGE = 1e-6  # a cosine is kept so far from 0 and 1, where the gradient of a logarithm has no bound
NEVER = -1e9  # the logit of a pair that does not count: finite, or a row of nothing else would give NaN


@dataclass(frozen=True)
class Pairs:
    """Cosines of sounds (rows) and mouths (columns), and what is known of each pair."""

    cosine: Tensor  # (B, B) float32 or wider
    right: Tensor  # (B, B) bool: sound and mouth of the same moment
    wrong: Tensor  # (B, B) bool: far enough apart in the same clip; what is neither does not count

    @classmethod
    def of(cls, audio: Tensor, face: Tensor, heard: Tensor, shown: Tensor, min_shift: int) -> Pairs:
        """All pairs of embeddings (B, D) of sounds and mouths of the moments (B,), see train.data.samples.moments.

        min_shift: frames between a sound and a mouth of the same clip from which on they are a wrong pair.
        """
        wide = torch.promote_types(audio.dtype, torch.float32)
        with torch.autocast(audio.device.type, enabled=False):
            cosine = F.normalize(audio.to(wide), dim=1) @ F.normalize(face.to(wide), dim=1).T
        apart = (heard[:, None] - shown[None]).abs()  # frames, or more than any clip has
        return cls(cosine, apart == 0, (apart >= min_shift) & (apart < FURTHER // 2))

    def cross_entropy(self) -> Tensor:
        """Mean binary cross-entropy of the right pairs and that of the wrong ones, half each."""
        probability = self.cosine.clamp(EDGE, 1 - EDGE)
        return (_mean(-probability.log(), self.right) + _mean(-(1 - probability).log(), self.wrong)) / 2

    def info_nce(self, temperature: float) -> Tensor:
        """How well each sound finds its own mouth among the wrong ones, and each mouth its sound.

        Cross-entropy of a softmax over cosines divided by the temperature, the mean of both directions (van den Oord
        et al. 2018, equation 4; both ways as in Radford et al. 2021). Chance is the logarithm of their number.
        """
        own = torch.eye(len(self.cosine), dtype=torch.bool, device=self.cosine.device)
        logits = (self.cosine / temperature).masked_fill(~(own & self.right | self.wrong), NEVER)
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _mean(values: Tensor, among: Tensor) -> Tensor:
    """Mean of some values; 0 if there are none."""
    return torch.where(among, values, 0).sum() / among.sum().clamp(min=1)
