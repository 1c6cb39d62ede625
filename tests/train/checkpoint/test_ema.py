"""Averaged weights against the formula."""

import pytest
import torch
from torch import nn

from train.checkpoint.ema import Ema


def build_network(value: float) -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def test_ema_forgets_its_start_then_decays():
    network = build_network(0.0)
    ema = Ema(network, decay=0.24)
    averages = []
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(network.weight, value)
        ema.update()
        averages.append(ema.weights["weight"].item())
    # The average keeps 2/11, then min(0.24, 3/12) = 0.24, then 0.24.
    first = 9 / 11
    second = 0.24 * first + 0.76 * 2
    assert averages == pytest.approx([first, second, 0.24 * second + 0.76 * 3])
    assert ema.steps == 3


def test_batchnorm_statistics_are_the_network_s_until_the_average_gets_its_own():
    norm = nn.BatchNorm1d(1)
    ema = Ema(norm, decay=0.999)
    norm.running_mean.fill_(11.0)
    norm.num_batches_tracked.fill_(7)
    nn.init.constant_(norm.weight, 12.0)
    ema.update()
    assert ema.weights["weight"].item() == pytest.approx(10.0)  # 2/11 * 1 + 9/11 * 12
    assert ema.weights["running_mean"].item() == 11.0 and not ema.has_statistics
    with ema.average_parameters():
        norm.running_mean.fill_(3.0)
        norm.num_batches_tracked.fill_(9)
        ema.keep_statistics()
    assert ema.weights["running_mean"].item() == 3.0 and ema.has_statistics
    assert ema.weights["num_batches_tracked"].item() == 7  # passes for the statistics are no training steps
    assert norm.running_mean.item() == 11.0


def test_applied_restores_own_weights_after_an_error():
    network = build_network(0.0)
    ema = Ema(network, decay=0.5)
    nn.init.constant_(network.weight, 0.1)
    ema.update()
    with pytest.raises(ZeroDivisionError), ema.average_parameters():
        assert network.weight.item() == pytest.approx(0.1 * 9 / 11)
        raise ZeroDivisionError
    assert network.weight.item() == torch.tensor(0.1).item()
