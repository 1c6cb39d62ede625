"""Optimizer steps of a model: clipping, frozen modules."""

import pytest
import torch
from torch import nn

from tests.helpers.trainers import load_step, run_trainer
from tests.helpers.training import cpu_fabric
from train.trainable import TrainableModel


def test_optimizer_step_clips_and_returns_the_norm():
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    fabric = cpu_fabric()
    model = TrainableModel(*fabric.setup(network, torch.optim.SGD(network.parameters(), lr=1.0)), grad_clip_norm=1.0)
    model.network(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert model.optimizer_step(fabric).item() == pytest.approx(5.0)
    assert network.weight.flatten().tolist() == pytest.approx([-0.6, -0.8])
    assert network.weight.grad is None
    model.network(torch.tensor([[0.3, 0.4]])).sum().backward()
    assert model.optimizer_step(fabric).item() == pytest.approx(0.5)
    assert network.weight.flatten().tolist() == pytest.approx([-0.9, -1.2])  # not clipped


def test_frozen_modules_keep_weights_and_statistics(noise_data, expert, tmp_path):
    first = run_trainer("syncnet", noise_data, tmp_path / "first", expert, "max_steps=1", "ema_decay=null")
    finetuned = run_trainer("syncnet", noise_data, tmp_path / "tuned", expert, "max_steps=3", "ema_decay=null",
                        "freeze=[audio_encoder]", f"checkpoint_path={first}/checkpoint_step000000001.pth")  # fmt: skip
    before, after = load_step(first, 1).state_dict, load_step(finetuned, 3).state_dict
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"face_encoder"}
    assert all(not torch.equal(before[k], after[k]) for k in before if k.startswith("face") and "running_mean" in k)
