"""Seconds of a GAN training step with and without joint batches of the discriminator, at full size.

    python benchmarks/gan_step.py [--batch 4] [--rounds 5] [--device cpu]

Separate: real and generated frames pass the discriminator one after the other. Joint, the default: as one batch.
With the sync loss, random weights, alternating rounds and medians; precision and memory format are the trainer's.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from train.data.samples import GeneratorInputs
from train.losses.weights import LossWeights, PiecewiseLinear
from train.steps.adversary import Adversary
from train.steps.generator import GeneratorStep


class SeparateBatches(Adversary):
    """Adversary whose discriminator sees real and generated frames in batches of their own."""

    def _predict(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        on_fake, on_real = (
            self.discriminator(frames).unflatten(0, (frames.shape[2], -1)) for frames in (fake, real)
        )  # (T, B, 1)
        return on_fake, on_real


def random_batch(size: int, device: torch.device) -> GeneratorInputs:
    """Build a batch of noise in the shape of the generator's inputs."""
    frame_mels = torch.randn(size, 5, 1, 80, 16)
    tensors = (torch.rand(size, 6, 5, 96, 96), frame_mels, frame_mels[:, 1], torch.rand(size, 3, 5, 96, 96))
    return GeneratorInputs(*(tensor.to(device) for tensor in tensors))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16-mixed")
    args = parser.parse_args()
    fabric = Fabric(accelerator=args.device, devices=1, precision=args.precision)
    torch.manual_seed(0)
    (generator, generator_adam), (discriminator, discriminator_adam) = (
        fabric.setup(
            network.to(memory_format=torch.channels_last), torch.optim.Adam(network.parameters(), lr=1e-4)
        )
        for network in (Wav2Lip(), VisualQualityDiscriminator())
    )  # fmt: skip
    expert = SyncNet().to(fabric.device, memory_format=torch.channels_last)
    sync, disc = (PiecewiseLinear.from_config(*weight) for weight in (("syncnet_wt", 0.03), ("disc_wt", 0.07)))
    weights = LossWeights(syncnet=sync, syncnet_on=sync, sync_threshold=0.75, disc=disc)
    adversaries = {"separate": SeparateBatches(fabric, discriminator), "joint": Adversary(fabric, discriminator)}
    steps = {
        name: GeneratorStep(fabric, generator, expert, weights, adversary=adversary)
        for name, adversary in adversaries.items()
    }
    batch = random_batch(args.batch, fabric.device)
    generator.train()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(args.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step.backward(batch)
            for optimizer in (generator_adam, discriminator_adam):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            if round_number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    reference = statistics.median(seconds["separate"])
    print(f"{args.precision}, batch {args.batch}, {fabric.device}, {torch.get_num_threads()} threads")
    print("| batches | median, s | best, s | speed-up |\n|---|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {median:.3f} | {min(times):.3f} | {reference / median:.2f} |")


if __name__ == "__main__":
    main()
