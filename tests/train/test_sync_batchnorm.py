"""Batch-norm over two processes against torch's own over the whole batch in one."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models import SyncNet, Wav2Lip
from tests.train.two_processes import in_two_processes
from train.sync_batchnorm import SyncBatchNorm2d, gather_with_gradients, synchronize


def whole_batch() -> torch.Tensor:
    return 3 + 2 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9).view(
        8, 1, 1, 1
    )


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.BatchNorm2d(2))


def learn(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients and statistics after a step whose loss is the mean over the batch of a sum."""
    batch = batch.clone().requires_grad_()
    out = model(batch)
    (out.pow(3).sum() / len(batch)).backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return {"out": out.detach(), "input": batch.grad, **gradients, **model.state_dict()}


def gradients_of_the_networks(first: int, last: int, wrap) -> dict[str, torch.Tensor]:
    """Of the expert and of the generator in float64 on samples first to last of eight; gradients of a mean."""
    torch.manual_seed(2)
    mel, faces, frames = torch.randn(8, 1, 80, 16), torch.rand(8, 15, 48, 96), torch.rand(8, 6, 96, 96)
    mel, faces, frames = (part[first:last].double() for part in (mel, faces, frames))
    expert, generator = SyncNet(width=0.0625).double(), Wav2Lip(width=0.0625).double()
    wrapped = wrap(expert), wrap(generator)
    audio, face = wrapped[0](mel, faces)
    (audio * face).sum(1).mean().backward()
    wrapped[1](mel, frames).square().mean().backward()
    return {f"{n} {name}": parameter.grad for n, network in enumerate((expert, generator))
            for name, parameter in network.named_parameters()}  # fmt: skip


def half(rank: int) -> dict[str, torch.Tensor]:
    model = DistributedDataParallel(synchronize(network(), on_gpu=False))
    found = learn(model, whole_batch()[rank * 4 : rank * 4 + 4])
    own = torch.tensor([1.0 + rank, 5.0], requires_grad=True)
    everyone = gather_with_gradients(own)
    (everyone.prod() * (rank + 1)).backward()
    found |= {"everyone": everyone, "gradient": own.grad}
    found |= gradients_of_the_networks(rank * 4, rank * 4 + 4, lambda n: DistributedDataParallel(synchronize(n, False)))
    return {name.replace("module.", ""): value.detach() for name, value in found.items()}


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    return in_two_processes(half, tmp_path_factory.mktemp("two"))


def test_two_processes_normalise_learn_and_remember_as_one_with_both_halves(halves):
    expected = learn(network(), whole_batch())
    for name in ("out", "input"):
        ours = torch.cat([found[name] for found in halves])
        # In one process the mean is over eight samples, in each of two over four.
        torch.testing.assert_close(ours / 2 if name == "input" else ours, expected.pop(name), rtol=1e-4, atol=1e-5)
    assert list(halves[0])[2 : 2 + len(expected)] == list(expected)
    for name, value in expected.items():
        for found in halves:
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_gradients_of_the_networks_over_two_processes_are_those_of_one(halves):
    expected = gradients_of_the_networks(0, 8, lambda network: network)
    assert len(expected) > 100
    for name, gradient in expected.items():
        torch.testing.assert_close(halves[1][name], gradient, rtol=1e-7, atol=1e-12, msg=name)


def test_what_is_gathered_passes_the_gradients_of_all_losses_to_where_it_came_from(halves):
    first, second = halves
    assert first["everyone"].tolist() == second["everyone"].tolist() == [[1, 5], [2, 5]]
    # Losses 1 * (1*5*2*5) and 2 * (1*5*2*5); the derivative of their sum 150 by an entry is 150 over that entry.
    assert first["gradient"].tolist() == [150, 30]
    assert second["gradient"].tolist() == [75, 30]


def test_names_parameters_and_the_eval_mode_of_a_network_stay_as_they_are():
    torch.manual_seed(0)
    plain = SyncNet(width=0.0625).eval()
    names, weights = list(plain.state_dict()), [parameter.data_ptr() for parameter in plain.parameters()]
    mel, faces = torch.randn(2, 1, 80, 16), torch.rand(2, 15, 48, 96)
    before = plain(mel, faces)
    ours = synchronize(plain, on_gpu=False)
    norms = [module for module in ours.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(type(module) is SyncBatchNorm2d for module in norms)
    assert list(ours.state_dict()) == names
    assert [parameter.data_ptr() for parameter in ours.parameters()] == weights
    assert all(torch.equal(a, b) for a, b in zip(before, ours(mel, faces), strict=True))
