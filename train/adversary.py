"""The visual-quality critic: what makes the GAN trainer differ from the plain one."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.losses import cross_entropy
from train.trained import unwrapped


class Adversary:
    """Learns to tell generated lower halves from photographs, and tells the generator how real its own look.

    Both want a gradient through the critic on the same frames: the generator that of -ln p towards the frames, the
    critic that of -ln(1 - p) towards its weights. The critic judges each frame by itself, without batch statistics,
    so for frame i the two chains differ by one number, (p_i - 1) / p_i, and one forward and backward serves both.
    """

    def __init__(self, fabric: Fabric, critic: nn.Module, *, shared: bool | None = None):
        """critic: frames (B, 3, T, H, W) -> (T * B, 1) probability of being real; row t * B + b is frame t of b.

        shared: one pass for both gradients, or one for each; None: one, except in 16-mixed, where a critic that is
        sure of itself has gradients too small for 16 bits, and the generator's would be lost with them.
        """
        scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
        self.fabric, self.critic, self.shared = fabric, critic, not scaled if shared is None else shared

    @torch.no_grad()
    def losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What `learn` gives, without gradients, for validation; and the shares of either that are judged right."""
        on_fake, on_real = self._judged(fake, real)
        right = {"critic_accuracy_real": on_real > 0.5, "critic_accuracy_fake": on_fake <= 0.5}
        return named(on_fake, on_real) | {name: verdicts.float().mean() for name, verdicts in right.items()}

    def learn(self, fake: Tensor, real: Tensor, share: float, *, advise: bool) -> dict[str, Tensor]:
        """Add the gradients of the critic's losses times `share` to the critic.

        fake, real: (B, 3, T, H, W) generated frames, with or without a graph behind them, and photographs.
        advise: whether `perceptual` is to have a gradient towards `fake`; the critic's weights get none of it.
        Returns: cross-entropy of the verdict on `fake` against "real" (perceptual); of the critic on photographs and
        on generated frames (critic_real, critic_fake), which are detached.
        """
        seen = fake.detach().requires_grad_(advise and self.shared)
        on_fake, on_real = self._judged(seen, real)
        losses = named(on_fake, on_real)
        self.fabric.backward((losses["critic_real"] + losses["critic_fake"]) * share)
        losses = {name: loss.detach() for name, loss in losses.items()}
        if advise and self.shared:
            gradient = advice(seen, on_fake.detach()) / share
            losses["perceptual"] = WithGradient.apply(fake, losses["perceptual"], gradient)
        elif advise:
            losses["perceptual"] = self._perceptual(fake)
        return losses

    def _judged(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (T, B, 1) that generated frames and photographs are real."""
        frames = fake.shape[2]
        return self.critic(fake).unflatten(0, (frames, -1)), self.critic(real).unflatten(0, (frames, -1))

    def _perceptual(self, fake: Tensor) -> Tensor:
        """The verdict with a pass of its own, in which the critic's gradients are not computed."""
        critic = unwrapped(self.critic)  # past the gradient sync of several processes
        critic.requires_grad_(False)
        with self.fabric.autocast():
            loss = cross_entropy(critic(fake), 1.0)
        critic.requires_grad_(True)
        return loss


def named(on_fake: Tensor, on_real: Tensor) -> dict[str, Tensor]:
    """The losses of probabilities that frames are real."""
    return {
        "perceptual": cross_entropy(on_fake, 1.0),
        "critic_real": cross_entropy(on_real, 1.0),
        "critic_fake": cross_entropy(on_fake, 0.0),
    }


def advice(seen: Tensor, probability: Tensor) -> Tensor:
    """The gradient of -ln p towards the frames, from that of -ln(1 - p), which their `grad` holds.

    seen: (B, 3, T, H, W); probability: (T, B, 1). Where p is 0 both gradients are 0: the sigmoid has no slope left.
    """
    assert seen.grad is not None
    tiny = torch.finfo(probability.dtype).tiny
    ratio = torch.where(probability > 0, (probability - 1) / probability.clamp_min(tiny), 0)
    return seen.grad * ratio.permute(1, 2, 0)[..., None, None].to(seen.dtype)  # (T, B, 1) -> (B, 1, T, 1, 1)


class WithGradient(torch.autograd.Function):
    """A number whose gradient towards a tensor is known already."""

    @staticmethod
    def forward(ctx: Any, towards: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """value: (); gradient: of the shape of `towards`."""
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """The chain rule's last link."""
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None
