"""Seconds of a training step on this CPU: the plain way of the public release, each means that makes it faster, all.

    python benchmarks/training_step.py [--steps expert generator gan] [--rounds 7] [--threads 2]

Plain: float32, contiguous, Adam as it comes. Each way runs in a process of its own; the processes take turns of a step
each, so that what else the machine does falls on all alike. Medians of wall time, and of the CPU time of all threads,
which says more where the cores are shared; peak of resident memory. Synthetic batches: loading data is no part of it.
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
from train.adversary import Adversary
from train.data.samples import GeneratorInputs, SyncNetInputs
from train.devices import adam, keep_freed_memory
from train.generator_step import GeneratorStep
from train.loss_weights import Line, LossWeights
from train.losses import sync_loss
from train.syncnet_step import SyncNetStep
from train.trained import Trained
from wav2lip.crops import mouths

BATCH = {"expert": 16, "generator": 4, "gan": 4}


@dataclass(frozen=True)
class Way:
    """How a step is taken."""

    channels_last: bool = False
    bf16: bool = False
    fused_adam: bool = False
    keeps_memory: bool = False  # freed memory is kept for the next step instead of given back to the system
    compiled: bool = False


PLAIN = Way()
OURS = Way(channels_last=True, bf16=True, fused_adam=True, keeps_memory=True)
WAYS = {
    "plain": PLAIN,
    "channels-last": Way(channels_last=True),
    "bf16": Way(bf16=True),
    "fused Adam": Way(fused_adam=True),
    "memory kept": Way(keeps_memory=True),
    "channels-last, bf16": Way(channels_last=True, bf16=True),
    "all but memory kept": replace(OURS, keeps_memory=False),
    "all": OURS,
    "all, compiled": replace(OURS, compiled=True),
}


def sync_batch(size: int) -> SyncNetInputs:
    """Noise in the shape of the expert's batch."""
    label = (torch.rand(size, 1) > 0.5).float()
    moments = torch.arange(size)  # of the sounds and the mouths: only objectives over all pairs ask for them
    return SyncNetInputs(torch.rand(size, 1, 80, 16), torch.rand(size, 15, 48, 96), label, moments, moments)


def generator_batch(size: int) -> GeneratorInputs:
    """Noise in the shape of the generator's batch."""
    mels, target = torch.rand(size, 5, 1, 80, 16), torch.rand(size, 3, 5, 96, 96)
    return GeneratorInputs(torch.rand(size, 6, 5, 96, 96), mels, mels[:, 1], target)


def plain_step(kind: str) -> Callable[[], object]:
    """The step that the public release takes, from its description."""
    if kind == "expert":
        expert, batch = SyncNet(), sync_batch(BATCH[kind])
        optimizer = torch.optim.Adam(expert.parameters(), 1e-4)

        def sync_step() -> None:
            optimizer.zero_grad()
            sync_loss(*expert(batch.mel, batch.faces), batch.label).backward()
            optimizer.step()

        return sync_step
    return plain_generator_step(generator_batch(BATCH[kind]), with_critic=kind == "gan")


def plain_generator_step(batch: GeneratorInputs, with_critic: bool) -> Callable[[], object]:
    """Reconstruction and sync, and the critic's verdict, whose own gradients are computed and thrown away."""
    generator, expert, critic = Wav2Lip(), SyncNet().eval().requires_grad_(False), VisualQualityDiscriminator()
    optimizer = torch.optim.Adam(generator.parameters(), 1e-4)
    critic_optimizer = torch.optim.Adam(critic.parameters(), 1e-4)

    def judged(faces: Tensor, real: float) -> Tensor:
        score = critic(faces)
        return F.binary_cross_entropy(score, torch.full_like(score, real))

    def step() -> None:
        optimizer.zero_grad()
        critic_optimizer.zero_grad()
        fake = generator(batch.frame_mels, batch.faces)
        loss = 0.9 * F.l1_loss(fake, batch.target) + 0.03 * sync_loss(*expert(batch.window_mel, mouths(fake)))
        if with_critic:
            loss = loss + 0.07 * judged(fake, 1.0)
        loss.backward()
        optimizer.step()
        if with_critic:
            critic_optimizer.zero_grad()
            judged(batch.target, 1.0).backward()
            judged(fake.detach(), 0.0).backward()
            critic_optimizer.step()

    return step


def our_step(kind: str, way: Way) -> Callable[[], object]:
    """The step of this project's trainers, taken in a way."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed" if way.bf16 else "32-true")
    if way.keeps_memory:
        keep_freed_memory()

    def trained(network: nn.Module) -> Trained:
        if way.channels_last:
            network = network.to(memory_format=torch.channels_last)
        optimizer = adam(network, 1e-4, (0.9, 0.999)) if way.fused_adam else torch.optim.Adam(network.parameters())
        wrapped, optimizer = fabric.setup(network, optimizer)
        if way.compiled:
            network.compile(dynamic=False)
        return Trained(wrapped, optimizer)

    if kind == "expert":
        networks = [trained(SyncNet())]
        step: SyncNetStep | GeneratorStep = SyncNetStep(fabric, networks[0].network)
        batch: SyncNetInputs | GeneratorInputs = sync_batch(BATCH[kind])
    else:
        networks = [trained(Wav2Lip()), *([trained(VisualQualityDiscriminator())] if kind == "gan" else [])]
        expert = SyncNet().to(memory_format=torch.channels_last if way.channels_last else torch.contiguous_format)
        adversary = Adversary(fabric, networks[1].network) if kind == "gan" else None
        sync, critic = (Line.of(name, weight) for name, weight in (("sync", 0.03), ("critic", 0.07)))
        weights = LossWeights(sync=sync, sync_on=sync, sync_threshold=0.0, critic=critic if adversary else None)
        step = GeneratorStep(fabric, networks[0].network, expert, weights, adversary=adversary)
        batch = generator_batch(BATCH[kind])

    number = itertools.count()

    def take() -> None:
        step.begin(next(number))
        step.backward(batch)  # type: ignore[arg-type]
        for network in networks:
            network.update(fabric)

    return take


def serve(kind: str, way: Way, threads: int, pipe: mp.connection.Connection) -> None:
    """Take a step whenever told to, and say what it took."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = plain_step(kind) if way == PLAIN else our_step(kind, way)
    step()
    pipe.send((0.0, 0.0))
    while pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        pipe.send((time.perf_counter() - wall, time.process_time() - cpu))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure(kind: str, ways: dict[str, Way], rounds: int, threads: int) -> dict[str, tuple[float, float, float]]:
    """Median wall and CPU seconds of a step for each way, in turns, and the peak of memory in GiB."""
    context = mp.get_context("spawn")
    pipes, processes = {}, []
    for name, way in ways.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(kind, way, threads, theirs), daemon=True))
        processes[-1].start()
        pipes[name].recv()  # one after another: they would start no faster together
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
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
    parser.add_argument("--steps", nargs="+", choices=BATCH, default=list(BATCH), help="whose steps")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[name for name in WAYS if "compiled" not in name])
    parser.add_argument("--rounds", type=int, default=7, help="steps of each way")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    args = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin for work starve others on shared cores
    for kind in args.steps:
        ways = {name: WAYS[name] for name in dict.fromkeys(["plain", *args.ways])}
        result = measure(kind, ways, args.rounds, args.threads)
        wall, cpu, _ = result["plain"]
        print(f"\n{kind}, batch {BATCH[kind]}, {args.threads} threads, medians of {args.rounds}\n")
        print("| way | wall, s | times faster | CPU, s | times less | peak, GiB |\n|---|---|---|---|---|---|")
        for name, (w, c, peak) in result.items():
            print(f"| {name} | {w:.3f} | {wall / w:.2f} | {c:.3f} | {cpu / c:.2f} | {peak:.1f} |", flush=True)


if __name__ == "__main__":
    main()
