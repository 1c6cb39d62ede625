"""Scores of the expert."""

import math

import torch

from tests.helpers.training import cpu_fabric, sync_batch
from tests.helpers.validation import NumberExpert
from train.data.samples import SyncNetInputs
from train.validation.syncnet import score_expert


def test_every_pair_has_the_same_weight_in_any_batch():
    pairs = sync_batch(torch.float32)
    batches = [SyncNetInputs(*(tensor[rows] for tensor in pairs)) for rows in (slice(0, 3), slice(3, 4))]
    assert score_expert(cpu_fabric(), NumberExpert(), batches) == score_expert(cpu_fabric(), NumberExpert(), [pairs])


def test_expert_with_nan_outputs_has_scores():
    class NanExpert(NumberExpert):
        def forward(self, mel, faces):
            return torch.full((len(mel), 2), math.nan), self.face_encoder(faces)

    assert math.isnan(score_expert(cpu_fabric(), NanExpert(), [sync_batch(torch.float32)])["loss"])
