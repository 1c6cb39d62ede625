"""Estimated GPU throughput of training and the loader rate that it needs, counted instead of measured.

    python -m benchmarks.gpu_arithmetic
    python -m benchmarks.gpu_arithmetic --networks    # parameters and FLOPs of each network by resolution

FLOPs by torch.utils.flop_counter over one forward and backward pass, a multiply-add counting as two. Bytes: the input
and output of each convolution once in bf16 for the forward pass, three times that for training with batch norm and ReLU
fused into their neighbours, and three times as much again without fusion. Adam reads and writes 28 bytes per parameter
and step. The rates of the GPUs are from their data sheets: dense bf16 and memory bandwidth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from models.resolutions import FACTORS

GPUS = {"RTX 3060": (25.5e12, 0.36e12), "A100": (312e12, 1.56e12), "H200": (989e12, 4.8e12)}  # FLOP/s, bytes/s
UTILISATION = (0.2, 0.5)  # share of the peak that such convolutional networks reach, from eager to compiled
ADAM_BYTES = 28  # per parameter: gradient, weight and two moments are read, the last three written
FRAMES = 5  # per window
RESOLUTIONS = (96, 288)  # pixels


@dataclass(frozen=True)
class Cost:
    """Cost of a training sample."""

    flop: float
    conv_bytes: float
    input_bytes: int  # from the loader
    parameters: int  # trained; updated once per step


def count_costs(run: Callable[[], torch.Tensor], networks: list[nn.Module]) -> tuple[float, float]:
    """Count the FLOPs of a forward and backward pass, and the bytes of the forward pass's convolution maps in bf16."""
    elements = 0

    def add_maps(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel() + output.numel()

    layers = [m for n in networks for m in n.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(add_maps) for layer in layers]
    with FlopCounterMode(display=False) as counter:
        run().sum().backward()
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), 2.0 * elements


def count_parameters(*networks: nn.Module) -> int:
    """Count the parameters of networks."""
    return sum(p.numel() for network in networks for p in network.parameters())


def expert_cost(resolution: int) -> Cost:
    """Count the cost of a pair of audio and mouth; in a batch of two, which batch norm needs."""
    expert = SyncNet(resolution=resolution)
    mel, faces = torch.rand(2, 1, 80, 16), torch.rand(2, 3 * FRAMES, resolution // 2, resolution)
    flop, maps = count_costs(lambda: torch.stack(expert(mel, faces)), [expert])
    return Cost(flop / 2, 3 * maps / 2, 80 * 16 * 4 + FRAMES * resolution**2 * 3, count_parameters(expert))


def generator_cost(resolution: int, with_discriminator: bool) -> Cost:
    """Count the cost of generating five frames with the sync loss and, optionally, the discriminator."""
    generator, discriminator = Wav2Lip(resolution=resolution), VisualQualityDiscriminator(resolution=resolution)
    expert = SyncNet(resolution=resolution).eval().requires_grad_(False)
    mels, faces = torch.rand(2, FRAMES, 1, 80, 16), torch.rand(2, 6, FRAMES, resolution, resolution)
    real = torch.rand(2, 3, FRAMES, resolution, resolution)

    def run() -> torch.Tensor:
        fake = generator(mels, faces)
        mouths = fake[..., resolution // 2 :, :].transpose(1, 2).flatten(1, 2)
        loss = fake.sum() + torch.stack(expert(mels[:, 1], mouths)).sum()
        if with_discriminator:
            discriminator.requires_grad_(False)
            loss = loss + discriminator(fake).sum()  # the generator's term
            discriminator.requires_grad_(True)
            loss = loss + discriminator(torch.cat([fake.detach(), real])).sum()
        return loss

    networks = [generator, expert, *([discriminator] if with_discriminator else [])]
    flop, maps = count_costs(run, networks)
    input_bytes = 2 * FRAMES * resolution**2 * 3 + (FRAMES + 1) * 80 * 16 * 4
    trained = count_parameters(generator, *([discriminator] if with_discriminator else []))
    return Cost(flop / 2, 3 * maps / 2, input_bytes, trained)


def rates(cost: Cost, batch: int, peak: float, bandwidth: float) -> tuple[float, float, float]:
    """Return samples per second limited by arithmetic, by memory, and by memory with unfused layers."""
    adam = ADAM_BYTES * cost.parameters / batch
    return peak / cost.flop, bandwidth / (cost.conv_bytes + adam), bandwidth / (3 * cost.conv_bytes + adam)


def forward_flop(run: Callable[[], object]) -> float:
    """Count the FLOPs of a forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def print_network_table() -> None:
    """Print parameters and forward FLOPs: per frame, and per pair for the expert."""
    print(
        "| model | generator, M | GFLOP | expert, M | GFLOP | discriminator, M | GFLOP |\n|---|---|---|---|---|---|---|"
    )
    for resolution in FACTORS:
        mel, face = torch.rand(1, 1, 80, 16), torch.rand(1, 3, resolution, resolution)
        mouths = torch.rand(1, 3 * FRAMES, resolution // 2, resolution)
        generator, expert = Wav2Lip(resolution=resolution).eval(), SyncNet(resolution=resolution).eval()
        discriminator = VisualQualityDiscriminator(resolution=resolution).eval()
        runs: list[tuple[nn.Module, Callable[[], object]]] = [
            (generator, partial(generator, mel, torch.cat([face, face], dim=1))),
            (expert, partial(expert, mel, mouths)),
            (discriminator, partial(discriminator, face[:, :, None])),
        ]
        cells = [f"{count_parameters(network) / 1e6:.2f} | {forward_flop(run) / 1e9:.2f}" for network, run in runs]
        print(f"| wav2lip_{resolution} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_arithmetic", description=__doc__)
    parser.add_argument("--networks", action="store_true", help="print parameters and FLOPs of the networks")
    if parser.parse_args().networks:
        print_network_table()
        return
    costs = {}
    for resolution in RESOLUTIONS:
        costs |= {
            (f"expert, {resolution}", 64): expert_cost(resolution),
            (f"generator with sync loss, {resolution}", 16): generator_cost(resolution, False),
            (f"GAN with sync loss, {resolution}", 16): generator_cost(resolution, True),
        }
    print("| sample, pixels | trained parameters, M | GFLOP | activations, MB, fused (unfused) | loader data, KB |")
    print("|---|---|---|---|---|")
    for (name, _), cost in costs.items():
        print(
            f"| {name} | {cost.parameters / 1e6:.1f} | {cost.flop / 1e9:.1f} | {cost.conv_bytes / 1e6:.0f} "
            f"({3 * cost.conv_bytes / 1e6:.0f}) | {cost.input_bytes / 1e3:.0f} |"
        )
    low, high = UTILISATION
    print(f"\n| sample | batch | GPU | compute bound | memory bound, fused (unfused) | at {low:.0%} to "
          f"{high:.0%} of the peak | loader, MB/s |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for (name, batch), cost in costs.items():
        for gpu, (peak, bandwidth) in GPUS.items():
            arithmetic, fused, unfused = rates(cost, batch, peak, bandwidth)
            estimates = [min(share * arithmetic, fused) for share in UTILISATION]
            print(
                f"| {name} | {batch} | {gpu} | {arithmetic:,.0f} | {fused:,.0f} ({unfused:,.0f}) | {estimates[0]:,.0f} "
                f"to {estimates[1]:,.0f} | {estimates[0] * cost.input_bytes / 1e6:,.0f} to "
                f"{estimates[1] * cost.input_bytes / 1e6:,.0f} |"
            )


if __name__ == "__main__":
    main()
