"""Learning-rate schedule against its formula, and in a run."""

import math
from itertools import pairwise

import pytest

from tests.helpers.trainers import load_step, run_trainer
from train.callbacks.lr_schedule import WarmupCosine


def test_warmup_is_linear_and_decay_half_a_cosine():
    schedule = WarmupCosine(warmup_steps=4, cosine_end=12)
    assert [schedule.factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    # Eight steps from 1 to 0: cos^2(pi n / 16).
    decay = [schedule.factor(4 + n) for n in range(9)]
    assert decay == pytest.approx([math.cos(math.pi * n / 16) ** 2 for n in range(9)])
    assert schedule.factor(100) == 0
    assert all(a > b for a, b in pairwise(decay))
    assert WarmupCosine(warmup_steps=2).factor(1000) == 1


def test_cosine_schedule_sets_the_optimizer_rate(noise_data, expert, tmp_path):
    folder = run_trainer(
        "syncnet", noise_data, tmp_path, expert, "recipe=public", "lr_schedule=cosine", "checkpoint_interval=1"
    )
    rates = [load_step(folder, step).optimizer["param_groups"][0]["lr"] for step in range(1, 7)]
    # (1 + cos(pi n / 6)) / 2 for n = 0..5
    assert rates == pytest.approx([1e-4, 0.9330127e-4, 0.75e-4, 0.5e-4, 0.25e-4, 0.0669873e-4])
