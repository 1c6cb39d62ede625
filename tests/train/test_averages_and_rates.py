"""Running averages, learning rates, clipped and accumulated gradients, each against its formula worked by hand."""

import math
from itertools import pairwise

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from train.checkpointing import Progress
from train.ema import Ema
from train.loop import Loop, Means
from train.schedules import RateSchedule
from train.trained import Trained


def one_weight(value: float) -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def test_the_average_forgets_its_beginning_and_then_decays_as_asked():
    network = one_weight(0.0)
    ema = Ema(network, decay=0.24)
    averages = []
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(network.weight, value)
        ema.update()
        averages.append(ema.weights["weight"].item())
    # Of the average stay 2/11, then min(0.24, 3/12) = 0.24, then 0.24.
    first = 9 / 11
    second = 0.24 * first + 0.76 * 2
    assert averages == pytest.approx([first, second, 0.24 * second + 0.76 * 3])
    assert ema.steps == 3


def test_batch_norm_statistics_are_averaged_and_its_counter_is_not():
    norm = nn.BatchNorm1d(1)
    ema = Ema(norm, decay=0.999)
    norm.running_mean.fill_(11.0)
    norm.num_batches_tracked.fill_(7)
    ema.update()
    assert ema.weights["running_mean"].item() == pytest.approx(9.0)  # 11 * 9/11
    assert ema.weights["num_batches_tracked"].item() == 7


def test_the_network_has_the_average_for_a_while_and_its_own_weights_again_even_after_an_error():
    network = one_weight(0.0)
    ema = Ema(network, decay=0.5)
    nn.init.constant_(network.weight, 0.1)
    ema.update()
    with pytest.raises(ZeroDivisionError), ema.applied():
        assert network.weight.item() == pytest.approx(0.1 * 9 / 11)
        raise ZeroDivisionError
    assert network.weight.item() == torch.tensor(0.1).item()


def test_the_rate_rises_along_a_line_and_falls_along_half_a_cosine_to_the_end():
    schedule = RateSchedule(warmup=4, cosine_end=12)
    assert [schedule.factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    # Eight steps from 1 to 0: cos^2(pi n / 16).
    falling = [schedule.factor(4 + n) for n in range(9)]
    assert falling == pytest.approx([math.cos(math.pi * n / 16) ** 2 for n in range(9)])
    assert schedule.factor(100) == 0
    assert all(a > b for a, b in pairwise(falling))
    assert RateSchedule(warmup=2).factor(1000) == 1


def test_gradients_longer_than_the_limit_are_shortened_to_it_and_their_length_is_told():
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    fabric = Fabric(accelerator="cpu", devices=1)
    trained = Trained(*fabric.setup(network, torch.optim.SGD(network.parameters(), lr=1.0)), clip=1.0)
    trained.network(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert trained.update(fabric).item() == pytest.approx(5.0)
    assert network.weight.flatten().tolist() == pytest.approx([-0.6, -0.8])
    assert network.weight.grad is None
    trained.network(torch.tensor([[0.3, 0.4]])).sum().backward()
    assert trained.update(fabric).item() == pytest.approx(0.5)
    assert network.weight.flatten().tolist() == pytest.approx([-0.9, -1.2])  # as they are


class SquaresStep:
    """Teaches a network without batch-norm the squares of its inputs."""

    def __init__(self, fabric, network):
        self.fabric, self.network = fabric, network

    def begin(self, step):
        pass

    def backward(self, batch, share):
        loss = (self.network(batch) - batch.square()).square().mean()
        self.fabric.backward(loss * share)
        return {"loss": loss.detach()}


def learned(batch_size: int, accumulate: int) -> tuple[nn.Module, float, Progress]:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    wrapped, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=0.01))
    loop = Loop(
        fabric=fabric, step=SquaresStep(fabric, wrapped), trained=[Trained(wrapped, optimizer, clip=0.1)],
        batch_size=batch_size, accumulate=accumulate, **dict.fromkeys(UNUSED),
    )  # fmt: skip
    samples = torch.rand(48, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches, means = iter(samples.split(batch_size)), Means()
    for _ in range(4):
        loop.learn(batches, means)
    return network, means.take()["loss"], loop.progress


UNUSED = ("train_batches", "val_batches", "val_batches_around", "pictures", "schedule", "folder", "monitor", "watch")


def test_gradients_of_three_batches_gathered_are_those_of_one_batch_of_three_times_the_size():
    (large, loss, progress), (gathered, same_loss, same_progress) = learned(12, 1), learned(4, 3)
    assert loss == pytest.approx(same_loss, rel=1e-6)
    assert progress == same_progress == Progress(step=4, samples=48)
    for ours, theirs in zip(gathered.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
