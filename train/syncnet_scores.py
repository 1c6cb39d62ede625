"""How well the expert tells held-out sound that belongs to a mouth from sound that does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data import SyncNetInputs
from train.losses import agreement
from wav2lip.metrics import roc_auc


@torch.no_grad()
def score_expert(fabric: Fabric, expert: nn.Module, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
    """Loss, share judged right of right and of wrong pairs and their mean, ROC-AUC, mean cosine of each.

    Leaves the expert in eval mode.
    """
    expert.eval()
    scores, labels = [], []
    for batch in batches:
        scores.append(agreement(*expert(batch.mel, batch.faces)))
        labels.append(batch.label)
    score = _of_all_processes(fabric, scores).double()
    right = _of_all_processes(fabric, labels) > 0.5
    return {"loss": F.binary_cross_entropy(score, right.double()).item(), **sync_scores(score, right)}


def _of_all_processes(fabric: Fabric, parts: list[Tensor]) -> Tensor:
    gathered: Any = fabric.all_gather(torch.cat(parts))
    return gathered.flatten().cpu()


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
