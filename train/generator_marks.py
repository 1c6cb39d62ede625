"""What the generator's held-out windows are like: how well the expert judges them, and how easy their L1 is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data import GeneratorInputs
from train.losses import agreement
from train.syncnet_scores import sync_scores
from wav2lip.crops import mouths


@torch.no_grad()
def measure_marks(
    fabric: Fabric, expert: nn.Module, batches: Callable[[], Iterable[GeneratorInputs]]
) -> dict[str, float]:
    """What a generator is judged against. No generator is asked; the windows are read twice.

    batches: the batches of a validation from the first on, each time it is called.
    Returns:
        expert_accuracy, expert_auc: of the expert on the true frames with their sound (right) and on the reference
            frames with it (wrong). References are of the same clip at any other time, so a few overlap the right
            ones, and an expert without fault is at little below 1.
        l1_of_copy: L1 of the target with the lower half of its reference frame, over the whole picture.
        l1_of_mean: likewise with the mean lower half of all targets, the picture of a guess.
    """
    mean = _mean_mouth(fabric, batches())
    right, wrong, count = [], [], 0
    l1_of_copy = l1_of_mean = torch.zeros((), device=fabric.device)
    with evaluating(expert), fabric.autocast():
        for batch in batches():
            target, reference = mouths(batch.target), mouths(batch.faces[:, 3:])
            right.append(agreement(*expert(batch.window_mel, target)))
            wrong.append(agreement(*expert(batch.window_mel, reference)))
            l1_of_copy = l1_of_copy + (target - reference).abs().float().mean(dim=(1, 2, 3)).sum()
            l1_of_mean = l1_of_mean + (lower_halves(batch.target) - mean).abs().float().mean(dim=(1, 2, 3, 4)).sum()
            count += len(target)
    score = [_of_all(fabric, torch.cat(part)) for part in (right, wrong)]
    label = [torch.full_like(part, kind, dtype=torch.bool) for part, kind in zip(score, (True, False), strict=True)]
    scores = sync_scores(torch.cat(score).double(), torch.cat(label))
    half = {"l1_of_copy": l1_of_copy / count / 2, "l1_of_mean": l1_of_mean / count / 2}  # upper halves are given
    means: Any = fabric.all_reduce(half)
    losses = {name: mean.item() for name, mean in means.items()}
    return {"expert_accuracy": scores["accuracy"], "expert_auc": scores["auc"], **losses}


def _mean_mouth(fabric: Fabric, batches: Iterable[GeneratorInputs]) -> Tensor:
    """The mean lower half of all target frames, (3, 1, H / 2, W)."""
    total, count = torch.zeros((), device=fabric.device), 0
    for batch in batches:
        halves = lower_halves(batch.target).float()
        total, count = total + halves.mean(dim=2).sum(dim=0), count + len(halves)
    mean: Any = fabric.all_reduce(total / count)
    return mean[:, None]


def lower_halves(frames: Tensor) -> Tensor:
    """(B, 3, T, H, W) -> (B, 3, T, H / 2, W)."""
    return frames[..., frames.shape[-2] // 2 :, :]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network is in eval mode inside the block, and in the mode it was in after it."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)


def _of_all(fabric: Fabric, part: Tensor) -> Tensor:
    gathered: Any = fabric.all_gather(part)
    return gathered.flatten().cpu()
