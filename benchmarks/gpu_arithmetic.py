"""What a training sample asks of a GPU, and what the loader must give to keep one busy: counted, not measured.

    python -m benchmarks.gpu_arithmetic
    python -m benchmarks.gpu_arithmetic --networks    # the size of each network at each resolution

FLOPs by torch.utils.flop_counter over one forward and backward pass, a multiply-add being two. Bytes: each
convolution's input and output once in bf16 for the forward pass, three times that for training, as they are where
batch-norm and ReLU are fused into their neighbours; and three times as much again where they are not. Adam reads and
writes 28 bytes a parameter and step. The chips' rates are those of their data sheets: dense bf16, memory bandwidth.
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

CHIPS = {"RTX 3060": (25.5e12, 0.36e12), "A100": (312e12, 1.56e12), "H200": (989e12, 4.8e12)}  # FLOP/s, bytes/s
UTILISATION = (0.2, 0.5)  # share of the peak that convolution networks of this kind reach, from eager to compiled
ADAM_BYTES = 28  # a parameter: gradient, weight and two moments read, the last three written
FRAMES = 5
SIZES = (96, 288)  # pixels


@dataclass(frozen=True)
class Cost:
    """Of one training sample, but for `parameters`, of a step."""

    flop: float
    conv_bytes: float
    input_bytes: int  # as the loader gives it
    parameters: int


def counted(run: Callable[[], torch.Tensor], networks: list[nn.Module]) -> tuple[float, float]:
    """FLOPs of a forward and backward pass, and bytes of the maps that convolutions read and write in the forward."""
    maps = 0

    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal maps
        maps += inputs[0].numel() + output.numel()

    layers = [m for n in networks for m in n.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with FlopCounterMode(display=False) as counter:
        run().sum().backward()
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), 2.0 * maps


def parameters(*networks: nn.Module) -> int:
    """How many are trained."""
    return sum(p.numel() for network in networks for p in network.parameters())


def expert_cost(size: int) -> Cost:
    """A pair of sound and mouth, of faces of so many pixels; two at once, since batch-norm needs them."""
    expert = SyncNet(resolution=size)
    mel, faces = torch.rand(2, 1, 80, 16), torch.rand(2, 15, size // 2, size)
    flop, maps = counted(lambda: torch.stack(expert(mel, faces)), [expert])
    return Cost(flop / 2, 3 * maps / 2, 80 * 16 * 4 + FRAMES * size * size * 3, parameters(expert))


def generator_cost(size: int, with_critic: bool) -> Cost:
    """Five frames to repaint, judged by the expert, and by the critic if there is one."""
    generator, critic = Wav2Lip(resolution=size), VisualQualityDiscriminator(resolution=size)
    expert = SyncNet(resolution=size).eval().requires_grad_(False)
    mels, faces = torch.rand(2, FRAMES, 1, 80, 16), torch.rand(2, 6, FRAMES, size, size)
    real = torch.rand(2, 3, FRAMES, size, size)

    def run() -> torch.Tensor:
        fake = generator(mels, faces)
        mouths = fake[..., size // 2 :, :].transpose(1, 2).flatten(1, 2)
        loss = fake.sum() + torch.stack(expert(mels[:, 1], mouths)).sum()
        if with_critic:  # one pass over the frames serves the generator and the critic
            loss = loss + critic(fake).sum() + critic(real).sum()
        return loss

    networks = [generator, expert, *([critic] if with_critic else [])]
    flop, maps = counted(run, networks)
    pictures = 2 * FRAMES * size * size * 3 + (FRAMES + 1) * 80 * 16 * 4
    trained = parameters(generator, *([critic] if with_critic else []))
    return Cost(flop / 2, 3 * maps / 2, pictures, trained)


def rates(cost: Cost, batch: int, peak: float, bandwidth: float) -> tuple[float, float, float]:
    """Samples a second: if nothing but arithmetic counted, if nothing but memory did, with unfused layers."""
    adam = ADAM_BYTES * cost.parameters / batch
    return peak / cost.flop, bandwidth / (cost.conv_bytes + adam), bandwidth / (3 * cost.conv_bytes + adam)


def forward_flop(run: Callable[[], object]) -> float:
    """FLOPs of one pass forward."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def network_table() -> None:
    """Parameters, and FLOPs forward: the generator's a frame, the expert's a pair, the critic's a frame."""
    print("| model | generator, M | GFLOP | expert, M | GFLOP | critic, M | GFLOP |\n|---|---|---|---|---|---|---|")
    for size in FACTORS:
        mel, face = torch.rand(1, 1, 80, 16), torch.rand(1, 3, size, size)
        mouths = torch.rand(1, 15, size // 2, size)
        generator, expert = Wav2Lip(resolution=size).eval(), SyncNet(resolution=size).eval()
        critic = VisualQualityDiscriminator(resolution=size).eval()
        runs: list[tuple[nn.Module, Callable[[], object]]] = [
            (generator, partial(generator, mel, torch.cat([face, face], dim=1))),
            (expert, partial(expert, mel, mouths)),
            (critic, partial(critic, face[:, :, None])),
        ]
        cells = [f"{parameters(network) / 1e6:.2f} | {forward_flop(run) / 1e9:.2f}" for network, run in runs]
        print(f"| wav2lip_{size} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_arithmetic", description=__doc__)
    parser.add_argument("--networks", action="store_true", help="the size of each network at each resolution")
    if parser.parse_args().networks:
        network_table()
        return
    units = {}
    for size in SIZES:
        units |= {
            (f"expert, {size}", 64): expert_cost(size),
            (f"generator with sync loss, {size}", 16): generator_cost(size, False),
            (f"GAN with sync loss, {size}", 16): generator_cost(size, True),
        }
    print("| sample, pixels | trained parameters, M | GFLOP | maps, MB, fused (unfused) | from the loader, KB |")
    print("|---|---|---|---|---|")
    for (name, _), cost in units.items():
        print(
            f"| {name} | {cost.parameters / 1e6:.1f} | {cost.flop / 1e9:.1f} | {cost.conv_bytes / 1e6:.0f} "
            f"({3 * cost.conv_bytes / 1e6:.0f}) | {cost.input_bytes / 1e3:.0f} |"
        )
    low, high = UTILISATION
    print(f"\n| sample | batch | chip | at the peak | by memory alone, fused (unfused) | at {low:.0%} to "
          f"{high:.0%} of the peak | then from the loader, MB/s |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for (name, batch), cost in units.items():
        for chip, (peak, bandwidth) in CHIPS.items():
            arithmetic, fused, unfused = rates(cost, batch, peak, bandwidth)
            likely = [min(share * arithmetic, fused) for share in UTILISATION]
            print(
                f"| {name} | {batch} | {chip} | {arithmetic:,.0f} | {fused:,.0f} ({unfused:,.0f}) | {likely[0]:,.0f} "
                f"to {likely[1]:,.0f} | {likely[0] * cost.input_bytes / 1e6:,.0f} to "
                f"{likely[1] * cost.input_bytes / 1e6:,.0f} |"
            )


if __name__ == "__main__":
    main()
