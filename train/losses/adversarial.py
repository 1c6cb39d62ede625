"""Adversarial losses of scores, the R1 penalty, and the distance of the discriminator's features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.losses.sync import binary_cross_entropy


@dataclass(frozen=True)
class AdversarialLoss:
    """Losses of a discriminator's scores for frames, each a mean over all frames."""

    takes_logits: bool  # scores are logits, else probabilities
    threshold: float  # of the score above which a frame counts as real
    chance: float  # loss on real and on generated frames of a discriminator that cannot distinguish them
    on_real: Callable[[Tensor], Tensor]  # the discriminator's for real frames
    on_fake: Callable[[Tensor], Tensor]  # the discriminator's for generated frames
    for_generator: Callable[[Tensor], Tensor]

    def compute(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Return all three for the scores of generated and of real frames."""
        return {
            "gan_generator": self.for_generator(fake),
            "disc_real": self.on_real(real),
            "disc_fake": self.on_fake(fake),
        }


# Cross-entropy, for the generator the non-saturating one (Goodfellow et al. 2014); upstream's.
BCE = AdversarialLoss(
    takes_logits=False,
    threshold=0.5,
    chance=math.log(2),
    on_real=lambda score: binary_cross_entropy(score, 1.0),
    on_fake=lambda score: binary_cross_entropy(score, 0.0),
    for_generator=lambda score: binary_cross_entropy(score, 1.0),
)
# Hinge loss (Lim and Ye 2017): frames beyond a margin of 1 do not train the discriminator.
HINGE = AdversarialLoss(
    takes_logits=True,
    threshold=0.0,
    chance=1.0,
    on_real=lambda score: F.relu(1 - score).mean(),
    on_fake=lambda score: F.relu(1 + score).mean(),
    for_generator=lambda score: -score.mean(),
)
ADVERSARIAL_LOSSES = {"bce": BCE, "hinge": HINGE}  # by the values of disc_loss


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return the mean squared norm of the gradient of a frame's logit (Mescheder et al. 2018, equation 9).

    score: (B, C, T, H, W) frames to logits (T * B, 1), each of one frame. The result can be differentiated again.
    """
    frames = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(frames).sum(), frames, create_graph=True)
    return gradient.square().sum(dim=(1, 3, 4)).mean()  # (B, C, T, H, W) -> (B, T) -> ()


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of the mean absolute difference of features (Wang et al. 2018)."""
    return torch.stack([F.l1_loss(_widen(a), _widen(b)) for a, b in zip(fake, real, strict=True)]).mean()


def _widen(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))
