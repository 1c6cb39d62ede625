"""Gradients of the adversary against the formulas of the GAN."""

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from models import VisualQualityDiscriminator
from train.losses.adversarial import HINGE
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
    generator_loss = adversary.generator_losses(fake, real)["gan_generator"]
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
    adversary.generator_losses(fake, fake)["gan_generator"].backward()
    assert torch.equal(fake.grad, torch.zeros_like(fake))


def hinge_terms(discriminator, fake, real):
    on_fake, on_real = (discriminator(frames, return_logits=True) for frames in (fake, real))
    return torch.clamp(1 - on_real, min=0).mean() + torch.clamp(1 + on_fake, min=0).mean(), -on_fake.mean()


def test_hinge_with_penalty_and_features_has_the_gradients_of_autograd():
    discriminator, fabric = build_discriminator(0).double(), Fabric(accelerator="cpu", devices=1, precision="64-true")
    fake, real = torch.rand(2, 2, 3, 5, 96, 96, dtype=torch.float64)
    fake.requires_grad_()
    total, generator = hinge_terms(discriminator, fake.detach(), real)
    frames = real.clone().requires_grad_()
    by_frames = torch.autograd.grad(discriminator(frames, return_logits=True).sum(), frames, create_graph=True)[0]
    penalty = by_frames.square().sum() / 10  # ten frames
    parameters = list(discriminator.parameters())
    # gamma 3, halved, in one of four steps
    expected = torch.autograd.grad(total + 3 / 2 * 4 * penalty, parameters, allow_unused=True)
    features = [discriminator(each, return_features=True)[1] for each in (fake, real)]
    distance = sum((a - b.detach()).abs().mean() for a, b in zip(*features, strict=True)) / 7
    expected_frames = torch.autograd.grad(hinge_terms(discriminator, fake, real)[1] + 5 * distance, fake)[0]
    adversary = Adversary(fabric, fabric.setup(discriminator), HINGE, r1_wt=3.0, r1_interval=4, matches_features=True)
    adversary.set_step(8)
    losses = adversary.backward(fake, real, 1.0)
    assert losses["gan_generator"].item() == pytest.approx(generator.item())
    assert losses["disc_r1"].item() == pytest.approx(penalty.item())
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    terms = adversary.generator_losses(fake, real)
    assert terms["feature_matching"].item() == pytest.approx(distance.item())
    (terms["gan_generator"] + 5 * terms["feature_matching"]).backward()
    torch.testing.assert_close(fake.grad, expected_frames)
    validation = adversary.losses(fake.detach(), real)
    assert validation["feature_matching"].item() == pytest.approx(distance.item())
    assert validation["disc_real"].item() + validation["disc_fake"].item() == pytest.approx(total.item())


def test_penalty_is_due_in_every_nth_step():
    fabric = Fabric(accelerator="cpu", devices=1)
    discriminator, frames = build_discriminator(0), torch.rand(2, 1, 3, 5, 96, 96)
    adversary = Adversary(fabric, fabric.setup(discriminator), r1_wt=1.0, r1_interval=3)
    due = []
    for step in range(7):
        adversary.set_step(step)
        due.append("disc_r1" in adversary.backward(*frames, 1.0))
    assert due == [True, False, False, True, False, False, True]


def test_validation_leaves_spectral_norm_unchanged():
    fabric = Fabric(accelerator="cpu", devices=1)
    network = VisualQualityDiscriminator(width=0.0625, spectral_norm=True)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    Adversary(fabric, fabric.setup(network)).losses(*torch.rand(2, 1, 3, 5, 96, 96))
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
