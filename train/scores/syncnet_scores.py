"""How well the expert tells held-out sound that belongs to a mouth from sound that does not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import SyncNetInputs
from train.losses import agreement
from train.scores import shift_curve
from train.trained import asked
from wav2lip.evaluation.metrics.metric import HIGHER, LOWER
from wav2lip.metrics import roc_auc

BETTER = {  # in the order in which they are told
    "loss": LOWER,
    "accuracy": HIGHER,
    "accuracy_right": HIGHER,
    "accuracy_wrong": HIGHER,
    "auc": HIGHER,
    "cosine_right": HIGHER,
    "cosine_wrong": LOWER,
    **shift_curve.BETTER,
}
NONE = -1.0  # the label of what fills up the answers of a process that has fewer than others


@torch.no_grad()
def score_expert(fabric: Fabric, expert: nn.Module, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
    """Loss, share judged right of right and of wrong pairs and their mean, ROC-AUC, mean cosine of each.

    Every pair counts alike, whatever batch or process it is in. Leaves the expert in eval mode.
    """
    expert.eval()
    answers = []
    for batch in batches:
        score = agreement(*asked(fabric, expert, batch.mel, batch.faces)).flatten()
        answers.append(torch.stack([score, batch.label.flatten().to(score.dtype)]))
    score, label = of_all_processes(fabric, torch.cat(answers, dim=1)).double()
    right = label > 0.5
    diverged = bool(score.isnan().any())  # for torch that is an error, here it is a score
    loss = math.nan if diverged else F.binary_cross_entropy(score, label).item()
    return {"loss": loss, **sync_scores(score, right)}


def of_all_processes(fabric: Fabric, answers: Tensor) -> Tensor:
    """Scores and labels (2, N) of every process; each may have another N."""
    if fabric.world_size == 1:
        return answers.cpu()
    most: Any = fabric.all_reduce(torch.tensor(answers.shape[1], device=fabric.device), reduce_op="max")
    filled = F.pad(answers, (0, int(most) - answers.shape[1]), value=NONE)
    gathered: Any = fabric.all_gather(filled)  # (processes, 2, most)
    together = gathered.transpose(0, 1).flatten(1).cpu()
    return together[:, together[1] != NONE]


def sync_scores(score: Tensor, right: Tensor) -> dict[str, float]:
    """How well agreement in [0, 1] tells right pairs from wrong ones, cut at 0.5; all NaN if one kind is missing."""
    hits, rejects = score[right] > 0.5, score[~right] <= 0.5
    on_right, on_wrong = hits.double().mean().item(), rejects.double().mean().item()
    return {
        "accuracy": (on_right + on_wrong) / 2,  # balanced: chance is 0.5 whatever the mixture
        "accuracy_right": on_right,
        "accuracy_wrong": on_wrong,
        "auc": roc_auc(score.numpy(), right.numpy()),
        "cosine_right": score[right].mean().item(),
        "cosine_wrong": score[~right].mean().item(),
    }
