"""Scores of the generator."""

import math

import pytest
import torch
from torch import nn

from models import SyncNet, Wav2Lip
from tests.helpers.goldens import tensor
from tests.helpers.trainers import open_log, run_trainer
from tests.helpers.training import cpu_fabric, generator_batch, loss_weights
from tests.helpers.validation import NumberExpert, NumberGenerator
from train.data.samples import GeneratorInputs
from train.steps.generator import GeneratorStep
from train.validation.generator import score_generator
from wav2lip.errors import InputError


def test_every_window_has_the_same_weight_in_any_batch():
    batch = generator_batch(torch.float32)
    batches = [GeneratorInputs(*(tensor[rows] for tensor in batch)) for rows in (slice(0, 3), slice(3, 4))]
    step = GeneratorStep(cpu_fabric(), NumberGenerator(), NumberExpert(), loss_weights(0.1))
    assert step.validate(batches) == pytest.approx(step.validate([batch]), rel=1e-5)


def test_mouth_scores_are_of_the_lower_half():
    target = torch.full((2, 3, 5, 96, 96), 0.4)
    fake = target.clone()
    fake[..., :48, :] = 0  # another upper half changes l1 alone
    fake[..., 48:, :] += 0.2

    class FixedGenerator(nn.Module):
        def forward(self, *_):
            return fake

    batch = GeneratorInputs(
        torch.zeros(2, 6, 5, 96, 96), torch.zeros(2, 5, 1, 80, 16), torch.zeros(2, 1, 80, 16), target
    )
    l1 = {"l1": (fake - target).abs().mean()}
    scores = score_generator(cpu_fabric(), FixedGenerator(), NumberExpert(), [batch], lambda *_: dict(l1))
    assert scores["l1"] == pytest.approx(0.3)
    assert scores["l1_mouth"] == pytest.approx(0.2)
    assert scores["psnr_mouth"] == pytest.approx(20 * math.log10(5), abs=1e-3)
    # Flat images of 0.6 and 0.4: (2 * 0.6 * 0.4 + 0.0001) / (0.36 + 0.16 + 0.0001).
    assert scores["ssim_mouth"] == pytest.approx(0.4801 / 0.5201, abs=1e-4)


def test_sync_of_truth_and_input_are_of_the_frames_themselves():
    expert = SyncNet(width=0.125).eval()
    batch = generator_batch(torch.float32)
    scores = GeneratorStep(cpu_fabric(), Wav2Lip(width=0.0625), expert, loss_weights(0.0, 0.1)).validate([batch])
    with torch.no_grad():
        audio, face = expert(batch.window_mel, batch.target[..., 48:, :].transpose(1, 2).reshape(4, 15, 48, 96))
        references = tensor(100010, (4, 6, 5, 96, 96))[:, 3:, :, 48:].transpose(1, 2).reshape(4, 15, 48, 96)
        _, reference_face = expert(batch.window_mel, references)
    expected = [-(audio * f).sum(1).clamp(max=1).log().mean().item() for f in (face, reference_face)]
    assert [scores["sync_of_truth"], scores["sync_of_input"]] == pytest.approx(expected, rel=1e-4)


def test_expert_in_training_mode_scores_a_single_window(noise_data, expert, tmp_path):
    # Batches of four windows, and one of the fifth.
    folder = run_trainer("wav2lip", noise_data, tmp_path, expert, "compat=public", "recipe=public", "eval_windows=5",
                         "max_steps=1")  # fmt: skip
    curves = open_log(folder)
    for name in ("sync", "sync_of_truth", "sync_of_input"):
        assert all(math.isfinite(event.value) for event in curves.Scalars(f"val/{name}"))
    with pytest.raises(InputError, match="batch_size=1"):
        run_trainer("wav2lip", noise_data, tmp_path / "one", expert, "compat=public", "batch_size=1")
