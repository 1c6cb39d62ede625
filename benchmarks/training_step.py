"""Seconds of a training step on this CPU: plain as upstream, with each optimisation alone, with all of them.

    python benchmarks/training_step.py [--steps expert generator gan] [--rounds 7] [--threads 2]

Plain: float32, contiguous, default Adam. Each variant runs in its own process; the processes take turns, one step each,
so that other load on the machine affects all of them. Medians of wall time and of the CPU time of all threads, which is
more robust on shared cores; peak resident memory. Batches are synthetic: data loading is not included.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing as mp
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from models import SyncNet, VisualQualityDiscriminator, Wav2Lip
from train.data.samples import GeneratorInputs, SyncNetInputs
from train.devices import build_adam
from train.losses.sync import sync_loss
from train.losses.weights import LossWeights, PiecewiseLinear
from train.steps.adversary import Adversary
from train.steps.generator import GeneratorStep
from train.steps.syncnet import SyncNetStep
from train.trainable import TrainableModel
from wav2lip.devices import keep_freed_memory
from wav2lip.faces.tensors import crop_mouths

BATCH = {"expert": 16, "generator": 4, "gan": 4}


@dataclass(frozen=True)
class Variant:
    """Optimisations of a step."""

    channels_last: bool = False
    bf16: bool = False
    fused_adam: bool = False
    keep_memory: bool = False  # keep freed memory for the next step instead of returning it to the system
    compiled: bool = False


PLAIN = Variant()
OURS = Variant(channels_last=True, bf16=True, fused_adam=True, keep_memory=True)
VARIANTS = {
    "plain": PLAIN,
    "channels-last": Variant(channels_last=True),
    "bf16": Variant(bf16=True),
    "fused Adam": Variant(fused_adam=True),
    "keep memory": Variant(keep_memory=True),
    "channels-last, bf16": Variant(channels_last=True, bf16=True),
    "all but keep memory": replace(OURS, keep_memory=False),
    "all": OURS,
    "all, compiled": replace(OURS, compiled=True),
}


def sync_batch(size: int) -> SyncNetInputs:
    """Return noise in the shape of the expert's batch."""
    label = (torch.rand(size, 1) > 0.5).float()
    positions = torch.arange(size)  # only objectives over all pairs use them
    return SyncNetInputs(torch.rand(size, 1, 80, 16), torch.rand(size, 15, 48, 96), label, positions, positions)


def generator_batch(size: int) -> GeneratorInputs:
    """Return noise in the shape of the generator's batch."""
    mels, target = torch.rand(size, 5, 1, 80, 16), torch.rand(size, 3, 5, 96, 96)
    return GeneratorInputs(torch.rand(size, 6, 5, 96, 96), mels, mels[:, 1], target)


def plain_step(kind: str) -> Callable[[], object]:
    """Return the step of upstream."""
    if kind == "expert":
        expert, batch = SyncNet(), sync_batch(BATCH[kind])
        optimizer = torch.optim.Adam(expert.parameters(), 1e-4)

        def sync_step() -> None:
            optimizer.zero_grad()
            sync_loss(*expert(batch.mel, batch.faces), batch.label).backward()
            optimizer.step()

        return sync_step
    return plain_generator_step(generator_batch(BATCH[kind]), with_discriminator=kind == "gan")


def plain_generator_step(batch: GeneratorInputs, with_discriminator: bool) -> Callable[[], object]:
    """Return a step on reconstruction and sync, with a discriminator whose gradients are computed twice."""
    generator, expert, discriminator = Wav2Lip(), SyncNet().eval().requires_grad_(False), VisualQualityDiscriminator()
    optimizer = torch.optim.Adam(generator.parameters(), 1e-4)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), 1e-4)

    def gan_loss(faces: Tensor, real: float) -> Tensor:
        score = discriminator(faces)
        return F.binary_cross_entropy(score, torch.full_like(score, real))

    def step() -> None:
        optimizer.zero_grad()
        discriminator_optimizer.zero_grad()
        fake = generator(batch.frame_mels, batch.faces)
        loss = 0.9 * F.l1_loss(fake, batch.target) + 0.03 * sync_loss(*expert(batch.window_mel, crop_mouths(fake)))
        if with_discriminator:
            loss = loss + 0.07 * gan_loss(fake, 1.0)
        loss.backward()
        optimizer.step()
        if with_discriminator:
            discriminator_optimizer.zero_grad()
            gan_loss(batch.target, 1.0).backward()
            gan_loss(fake.detach(), 0.0).backward()
            discriminator_optimizer.step()

    return step


def our_step(kind: str, variant: Variant) -> Callable[[], object]:
    """Return the step of this project's trainers in a variant."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed" if variant.bf16 else "32-true")
    if variant.keep_memory:
        keep_freed_memory()

    def build_model(network: nn.Module) -> TrainableModel:
        if variant.channels_last:
            network = network.to(memory_format=torch.channels_last)
        optimizer = (
            build_adam(network, 1e-4, (0.9, 0.999)) if variant.fused_adam else torch.optim.Adam(network.parameters())
        )
        wrapped, optimizer = fabric.setup(network, optimizer)
        if variant.compiled:
            network.compile(dynamic=False)
        return TrainableModel(wrapped, optimizer)

    if kind == "expert":
        networks = [build_model(SyncNet())]
        step: SyncNetStep | GeneratorStep = SyncNetStep(fabric, networks[0].network)
        batch: SyncNetInputs | GeneratorInputs = sync_batch(BATCH[kind])
    else:
        networks = [build_model(Wav2Lip()), *([build_model(VisualQualityDiscriminator())] if kind == "gan" else [])]
        expert = SyncNet().to(memory_format=torch.channels_last if variant.channels_last else torch.contiguous_format)
        adversary = Adversary(fabric, networks[1].network) if kind == "gan" else None
        sync, disc = (PiecewiseLinear.from_config(*weight) for weight in (("syncnet_wt", 0.03), ("disc_wt", 0.07)))
        weights = LossWeights(syncnet=sync, syncnet_on=sync, sync_threshold=0.0, disc=disc if adversary else None)
        step = GeneratorStep(fabric, networks[0].network, expert, weights, adversary=adversary)
        batch = generator_batch(BATCH[kind])

    number = itertools.count()

    def run_step() -> None:
        step.set_step(next(number))
        step.backward(batch)  # type: ignore[arg-type]
        for network in networks:
            network.optimizer_step(fabric)

    return run_step


def serve(kind: str, variant: Variant, threads: int, pipe: mp.connection.Connection) -> None:
    """Take a step on each request and send its wall and CPU seconds; at the end send the peak memory in GiB."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = plain_step(kind) if variant == PLAIN else our_step(kind, variant)
    step()
    pipe.send((0.0, 0.0))
    while pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        pipe.send((time.perf_counter() - wall, time.process_time() - cpu))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure(
    kind: str, variants: dict[str, Variant], rounds: int, threads: int
) -> dict[str, tuple[float, float, float]]:
    """Return median wall and CPU seconds of a step and peak memory in GiB for each variant."""
    context = mp.get_context("spawn")
    pipes, processes = {}, []
    for name, variant in variants.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(kind, variant, threads, theirs), daemon=True))
        processes[-1].start()
        pipes[name].recv()  # starting them together would be no faster
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            times[name].append(pipe.recv())
    result = {}
    for name, pipe in pipes.items():
        pipe.send(False)
        wall, cpu = (statistics.median(column) for column in zip(*times[name], strict=True))
        result[name] = (wall, cpu, pipe.recv())
    for process in processes:
        process.join()
    return result


def main() -> None:
    """Measure and print a Markdown table for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=BATCH, default=list(BATCH), help="trainers")
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=[name for name in VARIANTS if "compiled" not in name]
    )
    parser.add_argument("--rounds", type=int, default=7, help="steps of each variant")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    args = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve others on shared cores
    for kind in args.steps:
        variants = {name: VARIANTS[name] for name in dict.fromkeys(["plain", *args.variants])}
        result = measure(kind, variants, args.rounds, args.threads)
        wall, cpu, _ = result["plain"]
        print(f"\n{kind}, batch {BATCH[kind]}, {args.threads} threads, medians of {args.rounds}\n")
        print("| variant | wall, s | speed-up | CPU, s | CPU speed-up | peak, GiB |\n|---|---|---|---|---|---|")
        for name, (w, c, peak) in result.items():
            print(f"| {name} | {w:.3f} | {wall / w:.2f} | {c:.3f} | {cpu / c:.2f} | {peak:.1f} |", flush=True)


if __name__ == "__main__":
    main()
