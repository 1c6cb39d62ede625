"""One pass of the critic gives the generator and the critic the gradients that two would."""

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from models import VisualQualityDiscriminator
from train.adversary import Adversary


def plainly(critic, fake, real):
    """Gradients by the formulas of the GAN, each by a pass of its own: towards the frames, and the critic's weights."""
    fake = fake.clone().requires_grad_()
    perceptual = F.binary_cross_entropy(critic(fake), torch.ones(15, 1))
    towards_frames = torch.autograd.grad(perceptual, fake)[0]
    on_real = F.binary_cross_entropy(critic(real), torch.ones(15, 1))
    on_fake = F.binary_cross_entropy(critic(fake.detach()), torch.zeros(15, 1))
    weights = torch.autograd.grad(on_real + on_fake, list(critic.parameters()))
    losses = {"perceptual": perceptual, "critic_real": on_real, "critic_fake": on_fake}
    return towards_frames, weights, {name: loss.item() for name, loss in losses.items()}


def trained_critic(bias):
    torch.manual_seed(0)
    critic = VisualQualityDiscriminator(width=0.125)
    critic.binary_pred[0].weight.data *= 200  # a critic that tells frames apart
    critic.binary_pred[0].bias.data += bias
    return critic


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bias", [0, 4, -12])  # unsure; believes everything; sure of itself
def test_gradients_and_losses_are_those_of_a_pass_for_each(shared, bias):
    critic, fabric = trained_critic(bias), Fabric(accelerator="cpu", devices=1)
    fake, real = torch.rand(3, 3, 5, 96, 96), torch.rand(3, 3, 5, 96, 96)
    towards_frames, weights, losses = plainly(critic, fake, real)
    fake.requires_grad_()
    ours = Adversary(fabric, fabric.setup(critic), shared=shared).learn(fake, real, 0.5, advise=True)
    assert {name: loss.item() for name, loss in ours.items()} == pytest.approx(losses, rel=1e-4)
    for ours_now, plain in zip([p.grad for p in critic.parameters()], weights, strict=True):
        torch.testing.assert_close(ours_now, plain / 2, rtol=1e-3, atol=plain.abs().max().item() * 1e-5)
    ours["perceptual"].backward()
    assert towards_frames.abs().max() > 0
    torch.testing.assert_close(fake.grad, towards_frames, rtol=1e-3, atol=towards_frames.abs().max().item() * 1e-5)
    before = [p.grad.clone() for p in critic.parameters()]  # the generator's advice has not reached the critic
    assert all(torch.equal(a, p.grad) for a, p in zip(before, critic.parameters(), strict=True))


def test_a_critic_so_sure_that_its_probability_is_zero_advises_nothing_instead_of_not_a_number():
    critic, fabric = trained_critic(-1000), Fabric(accelerator="cpu", devices=1)
    fake = torch.rand(2, 3, 5, 96, 96, requires_grad=True)
    adversary = Adversary(fabric, fabric.setup(critic))
    adversary.learn(fake, torch.rand(2, 3, 5, 96, 96), 1.0, advise=True)["perceptual"].backward()
    assert torch.equal(fake.grad, torch.zeros_like(fake))
