"""Pairwise similarity: which pairs count, and the losses by hand."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import SyncNet
from tests.helpers.goldens import tensor
from tests.helpers.training import cpu_fabric
from train.data.index import to_position
from train.data.samples import SyncNetInputs
from train.losses.contrastive import PairwiseSimilarity
from train.losses.sync import sync_loss
from train.steps.syncnet import Objective, SyncNetStep


def build_pairs(audio, face, audio_position, face_position, min_offset=5):
    tensors = map(torch.tensor, (audio, face, audio_position, face_position))
    return PairwiseSimilarity.from_embeddings(*tensors, min_offset)


def test_near_windows_and_other_clips_do_not_count():
    clip, frame = torch.tensor([0, 0, 0, 1]), torch.tensor([10, 14, 15, 15])
    positions = to_position(clip, frame)
    similarity = PairwiseSimilarity.from_embeddings(torch.ones(4, 2), torch.ones(4, 2), positions, positions, 5)
    assert torch.equal(similarity.positive, torch.eye(4, dtype=torch.bool))
    expected = [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert similarity.negative.int().tolist() == expected


def test_cross_entropy_weights_positives_and_negatives_equally():
    # cosines: 0.6 and 0.8 of positives, 0.8 and 0.6 of negatives; embeddings of any length
    similarity = build_pairs([[2.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [1.2, 1.6]], [0, 100], [0, 100])
    positive, negative = -(math.log(0.6) + math.log(0.8)) / 2, -(math.log(0.2) + math.log(0.4)) / 2
    assert similarity.cross_entropy().item() == pytest.approx((positive + negative) / 2)


def test_info_nce_equals_hand_calculation_and_chance_level():
    similarity = build_pairs([[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.8, 0.6]], [0, 100], [0, 100])
    expected = math.log(1 + math.exp((0.8 - 0.6) / 0.5))  # the same for both rows and both columns
    assert similarity.info_nce(0.5).item() == pytest.approx(expected)
    equal = build_pairs([[1.0, 0.0]] * 8, [[1.0, 0.0]] * 8, list(range(0, 80, 10)), list(range(0, 80, 10)))
    assert equal.info_nce(0.07).item() == pytest.approx(math.log(8))


def test_losses_are_finite_without_negatives():
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    face = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    near = torch.tensor([0, 1])
    similarity = PairwiseSimilarity.from_embeddings(audio, face, near, near, 5)
    assert not similarity.negative.any()
    loss = similarity.cross_entropy() + similarity.info_nce(0.07)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("objective", [Objective(all_pairs=True), Objective(True, 5, 0.5, 0.1)])
def test_step_backpropagates_weighted_sum_of_losses(objective):
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    positions = to_position(torch.zeros(4, dtype=torch.int64), torch.tensor([0, 20, 40, 60]))
    mel, faces = tensor(1, (4, 1, 80, 16), -4, 4).float(), tensor(2, (4, 15, 48, 96)).float()
    batch = SyncNetInputs(mel, faces, torch.ones(4, 1), positions, positions)
    similarity = SyncNetStep(cpu_fabric(), expert, objective).backward(batch, 0.5)
    assert ("infonce" in similarity) == bool(objective.infonce_wt)
    gradients = [parameter.grad.clone() for parameter in expert.parameters()]
    expert.zero_grad()
    audio, face = expert(mel, faces)
    cosine = torch.nn.functional.cosine_similarity(audio[:, None], face[None], dim=2)
    positive, negative = cosine.diagonal(), cosine[~torch.eye(4, dtype=torch.bool)]
    total = -(positive.log().mean() + (1 - negative).log().mean()) / 2
    assert similarity["loss"].item() == pytest.approx(total.item(), rel=1e-4)
    if objective.infonce_wt:
        share = [side.log_softmax(1).diagonal().mean() for side in (cosine / 0.1, cosine.T / 0.1)]
        total = total - 0.5 * (share[0] + share[1]) / 2
    (total / 2).backward()
    for actual, parameter in zip(gradients, expert.parameters(), strict=True):
        torch.testing.assert_close(actual, parameter.grad, rtol=1e-2, atol=1e-4)


def test_single_pairs_have_upstreams_loss():
    torch.manual_seed(0)
    audio, face, label = torch.rand(4, 8), torch.rand(4, 8), torch.tensor([[1.0], [0], [1], [0]])
    positions = torch.arange(4)
    step = SyncNetStep(cpu_fabric(), torch.nn.Identity())
    losses = step.losses(audio, face, SyncNetInputs(audio, face, label, positions, positions))
    assert losses == {"loss": sync_loss(audio, face, label)}


GRADIENTS = """
import sys, torch
from lightning_fabric import Fabric
from train.data.samples import SyncNetInputs
from train.distributed import leave_process_group
from train.steps.syncnet import Objective, SyncNetStep
fabric = Fabric(accelerator="cpu", devices=int(sys.argv[1]))
fabric.launch()
torch.manual_seed(0)
network = fabric.setup(torch.nn.Linear(6, 4))
mel, faces, at = torch.rand(8, 6), torch.rand(8, 6), torch.arange(8) * 3  # some do not count
mine = slice(None) if fabric.world_size == 1 else slice(4 * fabric.global_rank, 4 * fabric.global_rank + 4)
both = network(torch.cat([mel[mine], faces[mine]])).relu()
batch = SyncNetInputs(mel[mine], faces[mine], torch.ones(8, 1)[mine], at[mine], at[mine])
losses = SyncNetStep(fabric, network, Objective(True, 5, 0.5, 0.1)).losses(*both.chunk(2), batch)
fabric.backward(losses["loss"] + 0.5 * losses["infonce"])
if fabric.is_global_zero:
    torch.save([losses["loss"].detach(), losses["infonce"].detach(), network.module.weight.grad], sys.argv[2])
leave_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack")
def test_two_processes_equal_one_with_the_joint_batch(tmp_path):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    root = Path(__file__).parents[3]
    for processes in (1, 2):
        launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc_per_node=2"]
        command = [sys.executable, *launch, str(script), str(processes), str(tmp_path / f"{processes}.pt")]
        environment = os.environ | {"PYTHONPATH": str(root)}
        process = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
    for single, joint in zip(*(torch.load(tmp_path / f"{n}.pt") for n in (1, 2)), strict=True):
        assert single.abs().max() > 0
        torch.testing.assert_close(single, joint)
