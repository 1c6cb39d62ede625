"""Batch-norm statistics of averaged weights, against torch's update_bn."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tests.helpers.trainers import is_equal, load_step, run_trainer
from tests.helpers.training import cpu_fabric
from train.batch_norm.statistics import count_batches, recompute_statistics
from train.checkpoint.ema import Ema
from train.trainable import TrainableModel

STATISTICS = ("1.running_mean", "1.running_var", "4.running_mean", "4.running_var")


def build_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.BatchNorm2d(2))


def make_batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [n + torch.randn(8, 3, 6, 6, generator=generator) for n in range(count)]


def test_statistics_equal_those_of_torch():
    network, batches = build_network(), make_batches(5)
    expected = copy.deepcopy(network)
    update_bn(batches, expected)
    network.train()
    recompute_statistics(cpu_fabric(), network, network, batches)
    for name in STATISTICS:
        torch.testing.assert_close(network.state_dict()[name], expected.state_dict()[name])
    assert network[1].momentum == network[4].momentum == 0.1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_frozen_norms_keep_their_statistics():
    network = build_network().train()
    network[1].eval()
    before = copy.deepcopy(network.state_dict())
    recompute_statistics(cpu_fabric(), network, network, make_batches(2))
    assert torch.equal(network[1].running_var, before["1.running_var"])
    assert not torch.equal(network[4].running_var, before["4.running_var"])


def test_without_batches_nothing_changes():
    network = build_network().train()
    before = copy.deepcopy(network.state_dict())
    recompute_statistics(cpu_fabric(), network, network, [])
    assert is_equal(network.state_dict(), before)


def test_average_gets_statistics_of_its_own_and_the_network_keeps_its():
    """The average of two opposite weights is near zero, whose outputs vary less than those of either."""
    network, fabric = build_network(), cpu_fabric()
    ema = Ema(network, decay=0.5)
    model = TrainableModel(network, torch.optim.SGD(network.parameters(), lr=0.0), ema=ema)
    model.complete_average(fabric, network, make_batches(2))  # no step was taken
    assert torch.equal(ema.weights["1.running_var"], torch.ones(4))
    with torch.no_grad():
        network[0].weight.neg_()
    model.train()
    network(make_batches(1)[0])
    ema.update()
    own = copy.deepcopy(network.state_dict())
    model.complete_average(fabric, network, make_batches(3))
    assert is_equal(network.state_dict(), own)
    averaged = build_network()
    averaged.load_state_dict(ema.weights)
    update_bn(make_batches(3), averaged)
    for name in STATISTICS:
        torch.testing.assert_close(ema.weights[name], averaged.state_dict()[name])
    assert not torch.allclose(ema.weights["4.running_var"], own["4.running_var"], rtol=0.2)


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 20), (32, 20), (33, 20), (64, 10), (80, 8), (1000, 1)])
def test_number_of_batches(batch_size, batches):
    assert count_batches(batch_size) == batches


@pytest.mark.parametrize("trainer", ["syncnet", "wav2lip"])
def test_saved_average_scores_as_validated_and_depends_on_the_step_alone(trainer, noise_data, expert, tmp_path):
    """A run that validates at every step saves the same average as one that only saves at its end."""
    options = ["ema_decay=0.9", "max_steps=5", "checkpoint_interval=5"]
    often = run_trainer(trainer, noise_data, tmp_path / "often", expert, *options, "eval_interval=1")
    once = run_trainer(trainer, noise_data, tmp_path / "once", expert, *options, "eval_interval=100")
    states = [load_step(folder, 5) for folder in (often, once)]
    assert is_equal(states[0].state_dict, states[1].state_dict)
    averaged, own = states[0].state_dict, states[0].extras["own_weights"]
    name = next(name for name in averaged if name.endswith("running_mean"))
    assert not torch.equal(averaged[name], own[name])
