"""Seconds of a GAN training step by how the critic is asked, at full size.

    python benchmarks/gan_step.py [--batch 4] [--rounds 5] [--device cpu]

A pass for each: the critic sees the generated frames once for the generator and once for itself. Shared: one pass gives
both gradients (train.adversary). Joined: shared, and photographs and generated frames go through as one batch. With the
sync loss on, weights drawn at random, alternating, medians; precision and memory format are the trainer's.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from train.adversary import Adversary
from train.data.samples import GeneratorInputs
from train.generator_step import GeneratorStep
from train.loss_weights import Line, LossWeights


class Joined(Adversary):
    """Photographs and generated frames as one batch."""

    def _judged(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        both = self.critic(torch.cat([fake, real])).unflatten(0, (fake.shape[2], -1))  # (T, 2 * B, 1)
        on_fake, on_real = both.split(len(fake), dim=1)
        return on_fake, on_real


def main() -> None:
    """Entry point."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batch", type=int, default=4)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--precision", default="bf16-mixed")
    given = arguments.parse_args()
    fabric = Fabric(accelerator=given.device, devices=1, precision=given.precision)
    torch.manual_seed(0)
    networks = [Wav2Lip(), VisualQualityDiscriminator()]
    made = [fabric.setup(n.to(memory_format=torch.channels_last), torch.optim.Adam(n.parameters(), lr=1e-4))
            for n in networks]  # fmt: skip
    (generator, generator_adam), (critic, critic_adam) = made
    expert = SyncNet().to(fabric.device, memory_format=torch.channels_last)
    ways = {
        "a pass for each": Adversary(fabric, critic, shared=False),
        "shared": Adversary(fabric, critic, shared=True),
        "shared, joined": Joined(fabric, critic, shared=True),
    }
    weights = LossWeights(sync=Line.of("sync", 0.03), sync_on=Line.of("sync", 0.03), sync_threshold=0.75,
                          critic=Line.of("critic", 0.07))  # fmt: skip
    steps = {name: GeneratorStep(fabric, generator, expert, weights, adversary=way) for name, way in ways.items()}
    size = given.batch
    batch = GeneratorInputs(*(part.to(fabric.device) for part in (
        torch.rand(size, 6, 5, 96, 96), torch.randn(size, 5, 1, 80, 16), torch.randn(size, 1, 80, 16),
        torch.rand(size, 3, 5, 96, 96))))  # fmt: skip
    batch = batch._replace(window_mel=batch.window_mel.view(size, 1, 80, 16))
    generator.train()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(given.rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step.backward(batch)
            for optimizer in (generator_adam, critic_adam):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    plain = statistics.median(seconds["a pass for each"])
    print(f"{given.precision}, batch {size}, {fabric.device}, {torch.get_num_threads()} threads")
    print("| way | median, s | best, s | times as fast |\n|---|---|---|---|")
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"| {name} | {middle:.3f} | {min(taken):.3f} | {plain / middle:.2f} |")


if __name__ == "__main__":
    main()
