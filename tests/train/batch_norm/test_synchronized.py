"""Batch-norm over two processes against torch's own over the whole batch in one."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models import SyncNet, Wav2Lip
from tests.helpers.processes import run_in_two_processes
from train.batch_norm.synchronized import SyncBatchNorm2d, gather_with_gradients, synchronize


def make_batch() -> torch.Tensor:
    return 3 + 2 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9).view(
        8, 1, 1, 1
    )


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.BatchNorm2d(2))


def run_step(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients and statistics after a step whose loss is the mean over the batch of a sum."""
    batch = batch.clone().requires_grad_()
    out = model(batch)
    (out.pow(3).sum() / len(batch)).backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return {"out": out.detach(), "input": batch.grad, **gradients, **model.state_dict()}


def network_gradients(first: int, last: int, wrap) -> dict[str, torch.Tensor]:
    """Return gradients of a mean, of the expert and the generator in float64 on samples first to last of eight."""
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


def run_half(rank: int) -> dict[str, torch.Tensor]:
    model = DistributedDataParallel(synchronize(network(), on_gpu=False))
    results = run_step(model, make_batch()[rank * 4 : rank * 4 + 4])
    values = torch.tensor([1.0 + rank, 5.0], requires_grad=True)
    everyone = gather_with_gradients(values)
    (everyone.prod() * (rank + 1)).backward()
    results |= {"gathered": everyone, "gradient": values.grad}
    results |= network_gradients(rank * 4, rank * 4 + 4, lambda n: DistributedDataParallel(synchronize(n, False)))
    return {name.replace("module.", ""): value.detach() for name, value in results.items()}


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    return run_in_two_processes(run_half, tmp_path_factory.mktemp("two"))


def test_two_processes_match_one_with_the_whole_batch(halves):
    expected = run_step(network(), make_batch())
    for name in ("out", "input"):
        actual = torch.cat([result[name] for result in halves])
        # In one process the mean is over eight samples, in each of two over four.
        torch.testing.assert_close(actual / 2 if name == "input" else actual, expected.pop(name), rtol=1e-4, atol=1e-5)
    assert list(halves[0])[2 : 2 + len(expected)] == list(expected)
    for name, value in expected.items():
        for result in halves:
            torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_network_gradients_match_those_of_one_process(halves):
    expected = network_gradients(0, 8, lambda network: network)
    assert len(expected) > 100
    for name, gradient in expected.items():
        torch.testing.assert_close(halves[1][name], gradient, rtol=1e-7, atol=1e-12, msg=name)


def test_gather_returns_gradients_to_their_process(halves):
    first, second = halves
    assert first["gathered"].tolist() == second["gathered"].tolist() == [[1, 5], [2, 5]]
    # Losses 1 * (1*5*2*5) and 2 * (1*5*2*5); the derivative of their sum 150 by an entry is 150 over that entry.
    assert first["gradient"].tolist() == [150, 30]
    assert second["gradient"].tolist() == [75, 30]


def test_synchronize_keeps_names_parameters_and_eval_mode():
    torch.manual_seed(0)
    plain = SyncNet(width=0.0625).eval()
    names, weights = list(plain.state_dict()), [parameter.data_ptr() for parameter in plain.parameters()]
    mel, faces = torch.randn(2, 1, 80, 16), torch.rand(2, 15, 48, 96)
    before = plain(mel, faces)
    synchronized = synchronize(plain, on_gpu=False)
    norms = [module for module in synchronized.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(type(module) is SyncBatchNorm2d for module in norms)
    assert list(synchronized.state_dict()) == names
    assert [parameter.data_ptr() for parameter in synchronized.parameters()] == weights
    assert all(torch.equal(a, b) for a, b in zip(before, synchronized(mel, faces), strict=True))
