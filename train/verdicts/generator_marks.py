"""What the generator's held-out windows are like: how well the expert judges them, and how easy their L1 is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import GeneratorInputs
from train.expert import evaluating
from train.losses import agreement
from train.scores.syncnet_scores import of_all_processes, sync_scores
from wav2lip.crops import mouths
from wav2lip.image_metrics import lower_halves


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
    answers = []
    sums: dict[str, Tensor] = dict.fromkeys(
        ("l1_of_copy", "l1_of_mean", "count"), torch.zeros((), device=fabric.device)
    )
    with evaluating(expert), fabric.autocast():
        for batch in batches():
            truth = torch.ones(len(batch.target), device=fabric.device)
            for frames, label in ((batch.target, truth), (batch.faces[:, 3:], 1 - truth)):
                score = agreement(*expert(batch.window_mel, mouths(frames))).flatten()
                answers.append(torch.stack([score, label.to(score.dtype)]))
            target, reference = lower_halves(batch.target).float(), lower_halves(batch.faces[:, 3:]).float()
            found = {
                "l1_of_copy": l1(target, reference),
                "l1_of_mean": l1(target, mean),
                "count": truth.new_tensor(len(target)),
            }
            sums = {name: total + found[name] for name, total in sums.items()}
    score, label = of_all_processes(fabric, torch.cat(answers, dim=1)).double()
    scores = sync_scores(score, label > 0.5)
    total: Any = fabric.all_reduce(sums, reduce_op="sum")
    frames = total.pop("count") * 2  # the upper halves are given, without an error
    losses = {name: (value / frames).item() for name, value in total.items()}
    return {"expert_accuracy": scores["accuracy"], "expert_auc": scores["auc"], **losses}


def _mean_mouth(fabric: Fabric, batches: Iterable[GeneratorInputs]) -> Tensor:
    """The mean lower half of all target frames, (3, H / 2, W)."""
    total, count = torch.zeros((), device=fabric.device), torch.zeros((), device=fabric.device)
    for batch in batches:
        halves = lower_halves(batch.target).float()
        total, count = total + halves.sum(dim=0), count + len(halves)
    summed: Any = fabric.all_reduce({"total": total, "count": count}, reduce_op="sum")
    return summed["total"] / summed["count"]


def l1(halves: Tensor, others: Tensor) -> Tensor:
    """Sum over frames (N, 3, H / 2, W) of their mean absolute differences."""
    return (halves - others).abs().mean(dim=(1, 2, 3)).sum()
