"""Adversarial losses, the gradient penalty and the distance of features against calculations by hand."""

import math

import pytest
import torch
from torch import nn

from train.losses.adversarial import BCE, HINGE, feature_distance, r1_penalty


def test_hinge_losses_equal_hand_calculation():
    fake, real = torch.tensor([[-3.0], [0.0], [0.5], [2.0]]), torch.tensor([[-1.0], [0.5], [1.0], [4.0]])
    losses = {name: loss.item() for name, loss in HINGE.compute(fake, real).items()}
    assert losses == pytest.approx({
        "gan_generator": -(-3.0 + 0.0 + 0.5 + 2.0) / 4,
        "disc_real": (2.0 + 0.5 + 0.0 + 0.0) / 4,  # max(0, 1 - score)
        "disc_fake": (0.0 + 1.0 + 1.5 + 3.0) / 4,  # max(0, 1 + score)
    })  # fmt: skip


def test_cross_entropy_equals_hand_calculation():
    losses = BCE.compute(torch.tensor([[0.25]]), torch.tensor([[0.5]]))
    assert losses["gan_generator"].item() == pytest.approx(math.log(4))
    assert losses["disc_real"].item() == pytest.approx(math.log(2))
    assert losses["disc_fake"].item() == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize(("loss", "score"), [(BCE, 0.5), (HINGE, 0.0)])
def test_chance_is_the_loss_of_a_constant_score(loss, score):
    scores = torch.full((4, 1), score)
    assert loss.on_real(scores).item() == pytest.approx(loss.chance)
    assert loss.on_fake(scores).item() == pytest.approx(loss.chance)


class LinearScore(nn.Module):
    """Score a frame by a scalar product with one weight per value, (3, H, W)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, frames):
        return torch.einsum("bcthw,chw->tb", frames, self.weight).flatten()[:, None]


def test_r1_of_linear_score_is_the_squared_norm_of_its_weight():
    weight = torch.arange(12.0, dtype=torch.float64).reshape(3, 2, 2) / 10
    score = LinearScore(weight.clone())
    penalty = r1_penalty(score, torch.rand(2, 3, 5, 2, 2, dtype=torch.float64))
    # The sum of (n / 10)^2 for n from 0 to 11, whatever the number of frames.
    assert penalty.item() == pytest.approx(5.06)
    penalty.backward()
    torch.testing.assert_close(score.weight.grad, 2 * weight)


def test_r1_of_quadratic_score_is_the_mean_over_frames():
    real = torch.rand(2, 3, 4, 2, 2, dtype=torch.float64)
    # The gradient of half the squared norm is the frame itself.
    penalty = r1_penalty(lambda frames: frames.square().sum(dim=(1, 3, 4)).T.flatten()[:, None] / 2, real)
    assert penalty.item() == pytest.approx(real.square().sum().item() / 8)


def test_feature_distance_weighs_layers_equally():
    fake = [torch.zeros(2, 3), torch.zeros(1, 1)]
    real = [torch.full((2, 3), 0.5), torch.full((1, 1), -2.0)]
    assert feature_distance(fake, real).item() == pytest.approx((0.5 + 2.0) / 2)
