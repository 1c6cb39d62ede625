"""Faster ways to the same training: one pass of Adam, compilation, memory that is kept."""

import platform
from copy import deepcopy

import pytest
import torch
from lightning_fabric import Fabric

from models import SyncNet
from tests.reference import tensor
from tests.train.test_trainers import same
from train.devices import adam, can_compile, compiled, keep_freed_memory
from train.resuming import _load_optimizer
from wav2lip.errors import InputError

CPU = torch.device("cpu")


def sync_batch():
    return tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96))


def learn(network, optimizer, steps):
    for _ in range(steps):
        audio, face = network(*sync_batch())
        (1 - (audio * face).sum(1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def small_network():
    torch.manual_seed(0)
    return SyncNet(width=0.0625).eval()  # without the noise of batch statistics


def test_adam_in_one_pass_takes_the_steps_of_the_plain_one():
    ours, plain = small_network(), small_network()
    learn(ours, adam(ours, 1e-3, (0.9, 0.999)), 5)
    learn(plain, torch.optim.Adam(plain.parameters(), 1e-3), 5)
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_plain_optimizer_state_is_gone_on_from_in_one_pass():
    plain = small_network()
    optimizer = torch.optim.Adam(plain.parameters(), 1e-3)
    learn(plain, optimizer, 3)
    ours = small_network()
    ours.load_state_dict(plain.state_dict())
    fused = adam(ours, 1e-3, (0.9, 0.999))
    _load_optimizer(fused, deepcopy(optimizer.state_dict()), "file", stored_rates=False)
    assert fused.param_groups[0]["fused"] is True
    learn(plain, optimizer, 2)
    learn(ours, fused, 2)
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_clipping_in_16_bits_sees_the_gradients_without_the_loss_scale():
    assert not adam(small_network(), 1e-3, (0.9, 0.999), "16-mixed").param_groups[0]["fused"]


def losses_of(wanted):
    """Of three steps of a network with batch statistics, and its keys after them."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")  # in 32 bits a few steps make much of rounding
    network = small_network().train()
    wrapped, optimizer = fabric.setup(network, adam(network, 1e-3, (0.9, 0.999)))
    compiled(network, wanted, CPU)
    losses = []
    for _ in range(3):
        audio, face = wrapped(*sync_batch())
        loss = (1 - (audio * face).sum(1)).mean()
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, list(network.state_dict()), network._compiled_call_impl


@pytest.mark.skipif(not can_compile(CPU), reason="no C++ compiler")
@pytest.mark.slow
def test_a_compiled_network_learns_as_before_and_its_weights_have_the_same_names():
    eager, keys, plain = losses_of(False)
    losses, compiled_keys, code = losses_of(True)
    assert plain is None and code is not None
    assert losses == pytest.approx(eager, rel=1e-6)
    assert compiled_keys == keys


def test_auto_compiles_nothing_on_a_cpu_and_false_nowhere():
    for wanted in ("auto", False):
        assert compiled(small_network(), wanted, CPU)._compiled_call_impl is None


def test_compiling_without_a_compiler_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "c++")
    monkeypatch.setenv("CC", "cc")
    with pytest.raises(InputError, match="compile=true: finds no C"):
        compiled(small_network(), True, CPU)
    with pytest.raises(InputError, match="compile=sometimes"):
        compiled(small_network(), "sometimes", CPU)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_kept_and_changes_no_result():
    assert keep_freed_memory()
    first, second = small_network(), small_network()
    assert same(dict(zip("af", first(*sync_batch()), strict=True)), dict(zip("af", second(*sync_batch()), strict=True)))
