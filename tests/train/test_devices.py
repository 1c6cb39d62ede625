"""Fused Adam, compilation and freed memory do not change results."""

import platform
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from lightning_fabric import Fabric

from models import SyncNet
from models.blocks import Conv, ConvBlock
from tests.helpers.goldens import tensor
from train.checkpoint.model_state import load_optimizer
from train.devices import build_adam, can_compile, compile_network
from wav2lip.devices import keep_freed_memory
from wav2lip.errors import InputError

CPU = torch.device("cpu")


def sync_batch():
    return tensor(100002, (4, 1, 80, 16), -4, 4), tensor(100001, (4, 15, 48, 96))


def train(network, optimizer, steps):
    for _ in range(steps):
        audio, face = network(*sync_batch())
        (1 - (audio * face).sum(1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def small_network():
    torch.manual_seed(0)
    return SyncNet(width=0.0625).eval()  # without the noise of batch statistics


def assert_weights_close(actual, plain):
    for a, b in zip(actual.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_fused_adam_takes_the_steps_of_the_plain_one():
    actual, plain = small_network(), small_network()
    train(actual, build_adam(actual, 1e-3, (0.9, 0.999)), 5)
    train(plain, torch.optim.Adam(plain.parameters(), 1e-3), 5)
    assert_weights_close(actual, plain)


def test_fused_adam_continues_from_a_plain_state():
    plain = small_network()
    optimizer = torch.optim.Adam(plain.parameters(), 1e-3)
    train(plain, optimizer, 3)
    actual = small_network()
    actual.load_state_dict(plain.state_dict())
    fused = build_adam(actual, 1e-3, (0.9, 0.999))
    load_optimizer(fused, deepcopy(optimizer.state_dict()), "file", keep_lr=False)
    assert fused.param_groups[0]["fused"] is True
    train(plain, optimizer, 2)
    train(actual, fused, 2)
    assert_weights_close(actual, plain)


def test_adam_is_not_fused_with_a_loss_scaler():
    assert not build_adam(small_network(), 1e-3, (0.9, 0.999), "16-mixed").param_groups[0]["fused"]


def run_three_steps(mode):
    """Return the losses of residual blocks with batch statistics, their keys, and their compiled code."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")  # in 32 bits rounding grows in a few steps
    network = torch.nn.Sequential(ConvBlock(3, 8, Conv(8, 3, 2, 1)), ConvBlock(8, 8, Conv(8, 3, 1, 1, residual=True)))
    wrapped, optimizer = fabric.setup(network, build_adam(network, 1e-3, (0.9, 0.999)))
    compile_network(network, mode, CPU)
    losses = []
    for _ in range(3):
        loss = wrapped(tensor(100001, (4, 3, 16, 16)).double()).square().mean()
        fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, list(network.state_dict()), network._compiled_call_impl


@pytest.mark.skipif(not can_compile(CPU), reason="no C++ compiler")
@pytest.mark.slow
def test_compiled_network_has_the_same_losses_and_keys():
    eager, keys, plain = run_three_steps(False)
    losses, compiled_keys, code = run_three_steps(True)
    assert plain is None and code is not None
    assert len(set(losses)) == 3 and losses == pytest.approx(eager, rel=1e-9)
    assert compiled_keys == keys


def test_auto_compiles_nothing_on_a_cpu():
    for mode in ("auto", False):
        assert compile_network(small_network(), mode, CPU)._compiled_call_impl is None


def test_compile_without_a_compiler_is_rejected(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "c++")
    monkeypatch.setenv("CC", "cc")
    with pytest.raises(InputError, match="compile=true"):
        compile_network(small_network(), True, CPU)
    with pytest.raises(InputError, match="compile=sometimes"):
        compile_network(small_network(), "sometimes", CPU)


MEASURE_KEPT = """
import numpy
from pathlib import Path
from wav2lip.devices import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

for limit in (64 << 20, None):
    assert keep_freed_memory(limit)
    before = resident()
    blocks = [numpy.ones(20 << 20, numpy.uint8) for _ in range(8)]  # 160 MiB
    del blocks
    print(resident() - before > 100 << 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_kept_up_to_a_limit():
    measured = subprocess.run([sys.executable, "-c", MEASURE_KEPT], capture_output=True, text=True, check=True)
    assert measured.stdout.split() == ["False", "True"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_keeping_freed_memory_changes_no_result():
    assert keep_freed_memory()
    first, second = small_network(), small_network()
    assert all(torch.equal(a, b) for a, b in zip(first(*sync_batch()), second(*sync_batch()), strict=True))
