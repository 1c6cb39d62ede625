"""Every sound of a batch against every mouth of its clip: which pairs count, and the losses by hand."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import SyncNet
from tests.reference import tensor
from tests.train.test_losses_and_steps import fabric_of
from train.contrast import Pairs
from train.data.samples import SyncNetInputs, moments
from train.losses import sync_loss
from train.syncnet_step import Objective, SyncNetStep


def pairs(audio, face, heard, shown, min_shift=5):
    return Pairs.of(torch.tensor(audio), torch.tensor(face), torch.tensor(heard), torch.tensor(shown), min_shift)


def test_mouths_of_the_same_moment_are_right_near_ones_do_not_count_and_other_clips_neither():
    clip, frame = torch.tensor([0, 0, 0, 1]), torch.tensor([10, 14, 15, 15])
    of_all = moments(clip, frame)
    found = Pairs.of(torch.ones(4, 2), torch.ones(4, 2), of_all, of_all, 5)
    assert torch.equal(found.right, torch.eye(4, dtype=torch.bool))
    wrong = [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert found.wrong.int().tolist() == wrong


def test_cross_entropy_is_half_of_the_right_pairs_and_half_of_the_wrong_ones():
    # cosines: 0.6 and 0.8 of right pairs, 0.8 and 0.6 of wrong ones; embeddings of any length
    found = pairs([[2.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [1.2, 1.6]], [0, 100], [0, 100])
    right, wrong = -(math.log(0.6) + math.log(0.8)) / 2, -(math.log(0.2) + math.log(0.4)) / 2
    assert found.cross_entropy().item() == pytest.approx((right + wrong) / 2)


def test_info_nce_by_hand_both_ways_and_at_chance_the_logarithm_of_the_number_of_choices():
    found = pairs([[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.8, 0.6]], [0, 100], [0, 100])
    sounds = math.log(1 + math.exp((0.8 - 0.6) / 0.5))  # the same for both rows and both columns
    assert found.info_nce(0.5).item() == pytest.approx(sounds)
    alike = pairs([[1.0, 0.0]] * 8, [[1.0, 0.0]] * 8, list(range(0, 80, 10)), list(range(0, 80, 10)))
    assert alike.info_nce(0.07).item() == pytest.approx(math.log(8))


def test_a_batch_without_wrong_pairs_and_cosines_of_0_and_1_have_losses_and_gradients():
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    face = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    near = torch.tensor([0, 1])
    found = Pairs.of(audio, face, near, near, 5)
    assert not found.wrong.any()
    loss = found.cross_entropy() + found.info_nce(0.07)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("objective", [Objective(all_pairs=True), Objective(True, 5, 0.5, 0.1)])
def test_the_step_takes_gradients_of_what_the_objective_adds_up(objective):
    torch.manual_seed(0)
    expert = SyncNet(width=0.125)
    at = moments(torch.zeros(4, dtype=torch.int64), torch.tensor([0, 20, 40, 60]))
    mel, faces = tensor(1, (4, 1, 80, 16), -4, 4).float(), tensor(2, (4, 15, 48, 96)).float()
    batch = SyncNetInputs(mel, faces, torch.ones(4, 1), at, at)
    found = SyncNetStep(fabric_of("32-true"), expert, objective).backward(batch, 0.5)
    assert ("contrast" in found) == bool(objective.contrast_weight)
    gradients = [parameter.grad.clone() for parameter in expert.parameters()]
    expert.zero_grad()
    audio, face = expert(mel, faces)
    cosine = torch.nn.functional.cosine_similarity(audio[:, None], face[None], dim=2)
    right, wrong = cosine.diagonal(), cosine[~torch.eye(4, dtype=torch.bool)]
    total = -(right.log().mean() + (1 - wrong).log().mean()) / 2
    assert found["loss"].item() == pytest.approx(total.item(), rel=1e-4)
    if objective.contrast_weight:
        share = [side.log_softmax(1).diagonal().mean() for side in (cosine / 0.1, cosine.T / 0.1)]
        total = total - 0.5 * (share[0] + share[1]) / 2
    (total / 2).backward()
    for ours, parameter in zip(gradients, expert.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-2, atol=1e-4)


def test_without_all_pairs_the_loss_is_the_releases():
    torch.manual_seed(0)
    audio, face, label = torch.rand(4, 8), torch.rand(4, 8), torch.tensor([[1.0], [0], [1], [0]])
    at = torch.arange(4)
    step = SyncNetStep(fabric_of("32-true"), torch.nn.Identity())
    losses = step.losses(audio, face, SyncNetInputs(audio, face, label, at, at))
    assert losses == {"loss": sync_loss(audio, face, label)}


GRADIENTS = """
import sys, torch
from lightning_fabric import Fabric
from train.data.samples import SyncNetInputs
from train.syncnet_step import Objective, SyncNetStep
fabric = Fabric(accelerator="cpu", devices=int(sys.argv[1]))
fabric.launch()
torch.manual_seed(0)
network = fabric.setup(torch.nn.Linear(6, 4))
mel, faces, at = torch.rand(8, 6), torch.rand(8, 6), torch.arange(8) * 3  # nearer than five frames: some do not count
mine = slice(None) if fabric.world_size == 1 else slice(4 * fabric.global_rank, 4 * fabric.global_rank + 4)
both = network(torch.cat([mel[mine], faces[mine]])).relu()
batch = SyncNetInputs(mel[mine], faces[mine], torch.ones(8, 1)[mine], at[mine], at[mine])
losses = SyncNetStep(fabric, network, Objective(True, 5, 0.5, 0.1)).losses(*both.chunk(2), batch)
fabric.backward(losses["loss"] + 0.5 * losses["contrast"])
if fabric.is_global_zero:
    torch.save([losses["loss"].detach(), losses["contrast"].detach(), network.module.weight.grad], sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv, which Windows builds of torch lack")
def test_two_processes_have_the_losses_and_gradients_of_one_with_both_their_batches(tmp_path):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    root = Path(__file__).parents[2]
    for processes in (1, 2):
        launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc_per_node=2"]
        command = [sys.executable, *launch, str(script), str(processes), str(tmp_path / f"{processes}.pt")]
        environment = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    for one, two in zip(*(torch.load(tmp_path / f"{n}.pt") for n in (1, 2)), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, two)
