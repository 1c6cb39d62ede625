"""The visual-quality discriminator: the difference between the GAN trainer and the plain one."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.losses.sync import binary_cross_entropy
from train.trainable import unwrap


class Adversary:
    """Trains the discriminator and gives the generator its adversarial loss (Goodfellow et al. 2014)."""

    def __init__(self, fabric: Fabric, discriminator: nn.Module):
        """discriminator: frames (B, 3, T, H, W) -> (T * B, 1) probability of being real; row t * B + b is frame t of b.

        It scores each frame independently, without batch statistics, so real and generated frames share a batch.
        """
        self.fabric, self.discriminator = fabric, discriminator

    @torch.no_grad()
    def losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """All losses, and the discriminator's accuracy on real and on generated frames, for validation."""
        on_fake, on_real = self._predict(fake, real)
        accuracies = {"disc_accuracy_real": on_real > 0.5, "disc_accuracy_fake": on_fake <= 0.5}
        return gan_losses(on_fake, on_real) | {name: right.float().mean() for name, right in accuracies.items()}

    def backward(self, fake: Tensor, real: Tensor, scale: float) -> dict[str, Tensor]:
        """Add the gradients of the discriminator's losses times `scale` to the discriminator.

        fake, real: (B, 3, T, H, W); `fake` gets no gradient.
        Returns: its cross-entropy on real and on generated frames, and the generator's, all detached.
        """
        losses = gan_losses(*self._predict(fake.detach(), real))
        self.fabric.backward((losses["disc_real"] + losses["disc_fake"]) * scale)
        return {name: loss.detach() for name, loss in losses.items()}

    def generator_loss(self, fake: Tensor) -> Tensor:
        """Cross-entropy of generated frames against "real"; its gradient reaches the frames alone."""
        discriminator = unwrap(self.discriminator)  # without the gradient synchronization of several processes
        discriminator.requires_grad_(False)
        with self.fabric.autocast():
            loss = binary_cross_entropy(discriminator(fake), 1.0)
        discriminator.requires_grad_(True)
        return loss

    def _predict(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (T, B, 1) of being real, for generated and for real frames."""
        both = self.discriminator(torch.cat([fake, real])).unflatten(0, (fake.shape[2], -1))  # (T, 2 * B, 1)
        on_fake, on_real = both.split(len(fake), dim=1)
        return on_fake, on_real


def gan_losses(on_fake: Tensor, on_real: Tensor) -> dict[str, Tensor]:
    """Losses for probabilities of being real: the generator's (non-saturating) and the discriminator's."""
    return {
        "gan_generator": binary_cross_entropy(on_fake, 1.0),
        "disc_real": binary_cross_entropy(on_real, 1.0),
        "disc_fake": binary_cross_entropy(on_fake, 0.0),
    }
