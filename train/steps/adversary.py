"""The visual-quality discriminator: the difference between the GAN trainer and the plain one."""

from __future__ import annotations

from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.losses.adversarial import BCE, AdversarialLoss, feature_distance, r1_penalty
from train.sync_expert import eval_mode
from train.trainable import predict, unwrap


class Adversary:
    """Trains the discriminator and gives the generator its adversarial loss (Goodfellow et al. 2014)."""

    def __init__(
        self, fabric: Fabric, discriminator: nn.Module, loss: AdversarialLoss = BCE, *, r1_wt: float = 0.0,
        r1_interval: int = 1, matches_features: bool = False,
    ):  # fmt: skip
        """discriminator: frames (B, 3, T, H, W) -> (T * B, 1) probability of being real; row t * B + b is frame t of b.
            For logits, R1 and features as models.VisualQualityDiscriminator.
        r1_wt: weight of the gradient penalty on real frames, gamma of Mescheder et al. (2018), which halve it.
        r1_interval: steps between penalties, each of which counts as many times (Karras et al. 2020, section 3.1).
        matches_features: give the generator the distance of the discriminator's features too.

        It scores each frame independently, without batch statistics, so real and generated frames share a batch.
        """
        self.fabric, self.discriminator, self.loss = fabric, discriminator, loss
        self.r1_wt, self.r1_interval, self.matches_features = r1_wt, r1_interval, matches_features
        self._has_penalty = r1_wt > 0

    def set_step(self, step: int) -> None:
        """Set the optimizer step, counted from 0: whether the gradient penalty is due."""
        self._has_penalty = self.r1_wt > 0 and step % self.r1_interval == 0

    @torch.no_grad()
    def losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """All losses, and the discriminator's accuracy on real and on generated frames, for validation."""
        both = torch.cat([fake, real])
        with eval_mode(unwrap(self.discriminator)):  # in training mode spectral norm would update its vectors
            output = predict(self.fabric, self.discriminator, both, *self._outputs(self.matches_features))
        scores, features = output if self.matches_features else (output, [])
        on_fake, on_real = _split(scores, fake)
        losses = self.loss.compute(on_fake, on_real)
        if self.matches_features:
            pairs = [_split(feature, fake) for feature in features]
            losses["feature_matching"] = feature_distance([a for a, _ in pairs], [b for _, b in pairs])
        threshold = self.loss.threshold
        accuracies = {"disc_accuracy_real": on_real > threshold, "disc_accuracy_fake": on_fake <= threshold}
        return losses | {name: right.float().mean() for name, right in accuracies.items()}

    def backward(self, fake: Tensor, real: Tensor, scale: float) -> dict[str, Tensor]:
        """Add the gradients of the discriminator's losses times `scale` to the discriminator.

        fake, real: (B, 3, T, H, W); `fake` gets no gradient.
        Returns: its loss on real and on generated frames, the generator's, and disc_r1 if it is due, all detached.
        """
        losses = self.loss.compute(*self._predict(fake.detach(), real))
        total = losses["disc_real"] + losses["disc_fake"]
        if self._has_penalty:
            losses["disc_r1"] = self._penalize_gradients(real)
            total = total + self.r1_wt / 2 * self.r1_interval * losses["disc_r1"]
        self.fabric.backward(total * scale)
        return {name: loss.detach() for name, loss in losses.items()}

    def _predict(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (T, B, 1) of generated and of real frames."""
        return _split(self.discriminator(torch.cat([fake, real]), *self._outputs()), fake)

    def _penalize_gradients(self, real: Tensor) -> Tensor:
        """R1 of real frames in float32: gradients of gradients lose too much in 16 bits.

        It calls `forward` itself, because a compiled network cannot be differentiated twice. The wrapper that
        synchronizes processes needs no call: it acts on the parameters in the one backward pass of all losses.
        """
        score = partial(unwrap(self.discriminator).forward, return_logits=True)
        with torch.autocast(real.device.type, enabled=False):
            return r1_penalty(score, real)

    def generator_losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """The generator's terms gan_generator and feature_matching, if set; gradients reach the generated frames alone.

        fake, real: (B, 3, T, H, W).
        """
        discriminator = unwrap(self.discriminator)  # without the gradient synchronization of several processes
        discriminator.requires_grad_(False)
        with self.fabric.autocast():
            if self.matches_features:
                scores, features = discriminator(fake, *self._outputs(True))
                with torch.no_grad():
                    _, expected = discriminator(real, *self._outputs(True))
                losses = {"feature_matching": feature_distance(features, expected)}
            else:
                scores, losses = discriminator(fake, *self._outputs()), {}
            losses["gan_generator"] = self.loss.for_generator(scores)
        discriminator.requires_grad_(True)
        return losses

    def _outputs(self, return_features: bool = False) -> tuple[bool, ...]:
        """Arguments of the discriminator after the frames; none for probabilities alone, which any network returns."""
        return (self.loss.takes_logits, return_features) if self.loss.takes_logits or return_features else ()


def _split(rows: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Split rows (T * 2 * B, ...) into those of generated frames (B, 3, T, H, W) and of real ones, (T, B, ...) each."""
    on_fake, on_real = rows.unflatten(0, (fake.shape[2], -1)).split(len(fake), dim=1)
    return on_fake, on_real
