"""Gradients of the adversary against the formulas of the GAN."""

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from models import VisualQualityDiscriminator
from train.steps.adversary import Adversary


def expected_gradients(discriminator, fake, real):
    """Gradients with respect to the frames and the discriminator's weights, and the losses."""
    fake = fake.clone().requires_grad_()
    generator = F.binary_cross_entropy(discriminator(fake), torch.ones(15, 1))
    frames = torch.autograd.grad(generator, fake)[0]
    on_real = F.binary_cross_entropy(discriminator(real), torch.ones(15, 1))
    on_fake = F.binary_cross_entropy(discriminator(fake.detach()), torch.zeros(15, 1))
    weights = torch.autograd.grad(on_real + on_fake, list(discriminator.parameters()))
    losses = {"gan_generator": generator, "disc_real": on_real, "disc_fake": on_fake}
    return frames, weights, {name: loss.item() for name, loss in losses.items()}


def build_discriminator(bias):
    torch.manual_seed(0)
    discriminator = VisualQualityDiscriminator(width=0.125)
    discriminator.binary_pred[0].weight.data *= 200  # distinguishes frames
    discriminator.binary_pred[0].bias.data += bias
    return discriminator


@pytest.mark.parametrize("bias", [0, 4, -12])  # undecided, all real, all fake
def test_gradients_and_losses_equal_formulas(bias):
    discriminator, fabric = build_discriminator(bias), Fabric(accelerator="cpu", devices=1)
    fake, real = torch.rand(3, 3, 5, 96, 96), torch.rand(3, 3, 5, 96, 96)
    frames, weights, losses = expected_gradients(discriminator, fake, real)
    fake.requires_grad_()
    adversary = Adversary(fabric, fabric.setup(discriminator))
    generator_loss = adversary.generator_loss(fake)
    actual = adversary.backward(fake, real, 0.5)
    assert generator_loss.item() == pytest.approx(losses["gan_generator"], rel=1e-4)
    assert fake.grad is None  # the discriminator's losses do not reach the frames
    assert {name: loss.item() for name, loss in actual.items()} == pytest.approx(losses, rel=1e-4)
    for gradient, expected in zip([p.grad for p in discriminator.parameters()], weights, strict=True):
        torch.testing.assert_close(gradient, expected / 2, rtol=1e-3, atol=expected.abs().max().item() * 1e-5)
    before = [p.grad.clone() for p in discriminator.parameters()]
    generator_loss.backward()
    assert frames.abs().max() > 0
    torch.testing.assert_close(fake.grad, frames, rtol=1e-3, atol=frames.abs().max().item() * 1e-5)
    # the generator's loss does not reach the discriminator
    assert all(torch.equal(a, p.grad) for a, p in zip(before, discriminator.parameters(), strict=True))


def test_saturated_discriminator_gives_zero_gradient_not_nan():
    discriminator, fabric = build_discriminator(-1000), Fabric(accelerator="cpu", devices=1)
    fake = torch.rand(2, 3, 5, 96, 96, requires_grad=True)
    adversary = Adversary(fabric, fabric.setup(discriminator))
    adversary.generator_loss(fake).backward()
    assert torch.equal(fake.grad, torch.zeros_like(fake))
