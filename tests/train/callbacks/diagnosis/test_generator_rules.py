"""Baselines on windows whose scores are known by construction."""

import pytest
import torch

from tests.helpers.training import cpu_fabric
from train.callbacks.diagnosis.generator_rules import measure_baselines
from train.data.samples import GeneratorInputs


class PerfectExpert(torch.nn.Module):
    """An expert for which audio and faces match if their first values are equal."""

    def forward(self, mel, faces):
        codes = torch.stack([mel[:, 0, 0, 0], faces[:, 0, 0, 0]])
        return torch.nn.functional.one_hot(codes.long(), 10).float()


def test_baselines_are_expert_scores_and_l1_of_two_guesses():
    size, codes = 96, torch.arange(4.0)
    target, reference = torch.zeros(4, 3, 5, size, size), torch.zeros(4, 3, 5, size, size)
    target[..., size // 2 :, :] = codes.view(4, 1, 1, 1, 1)  # mouths 0, 1, 2, 3: their mean is 1.5
    reference[..., size // 2 :, :] = torch.tensor([1.0, 1.0, 3.0, 4.0]).view(4, 1, 1, 1, 1)  # the second one matches
    mel = codes.view(4, 1, 1, 1).expand(4, 1, 80, 16)
    faces = torch.cat([target, reference], dim=1)
    rows = [slice(0, 3), slice(3, 4)]  # batches of unequal size
    batches = [GeneratorInputs(faces[r], torch.zeros(0), mel[r], target[r]) for r in rows]
    expert = PerfectExpert().train()
    baselines = measure_baselines(cpu_fabric(), expert, lambda: batches)
    assert expert.training  # restored
    assert baselines["expert_accuracy"] == (4 / 4 + 3 / 4) / 2
    assert baselines["expert_auc"] == (3 + 1 / 2) / 4  # against three of four mismatched pairs it wins, one is a tie
    assert baselines["l1_of_mean"] == pytest.approx((1.5 + 0.5 + 0.5 + 1.5) / 4 / 2)  # the upper half has no error
    assert baselines["l1_of_copy"] == pytest.approx((1 + 0 + 1 + 1) / 4 / 2)
