"""The visual-quality critic: what makes the GAN trainer differ from the plain one."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.losses import cross_entropy


class Adversary:
    """Learns to tell generated lower halves from photographs, and tells the generator how real its own look."""

    def __init__(self, fabric: Fabric, critic: nn.Module):
        self.fabric, self.critic = fabric, critic

    def perceptual(self, fake: Tensor) -> Tensor:
        """Cross-entropy of the critic's verdict on generated frames (B, 3, T, H, W) against "real".

        Gradients reach the frames only: the critic's own would be thrown away, so they are not computed.
        """
        critic = getattr(self.critic, "module", self.critic)  # past the gradient sync of several processes
        critic.requires_grad_(False)
        with self.fabric.autocast():
            loss = cross_entropy(critic(fake), 1.0)
        critic.requires_grad_(True)
        return loss

    def losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of the critic on photographs and on generated frames, (B, 3, T, H, W) both."""
        return {
            "critic_real": cross_entropy(self.critic(real), 1.0),
            "critic_fake": cross_entropy(self.critic(fake), 0.0),
        }

    def backward(self, fake: Tensor, real: Tensor, share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of the critic's losses times `share`; `fake` detached from the generator."""
        losses = self.losses(fake, real)
        self.fabric.backward(torch.stack(list(losses.values())).sum() * share)
        return losses
