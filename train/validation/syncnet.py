"""Scores of the expert on validation windows: matching and mismatched pairs of audio and mouth."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import SyncNetInputs
from train.losses.sync import match_probability
from train.trainable import predict
from train.validation import offset_curve
from wav2lip.evaluation.metrics.base import HIGHER, LOWER
from wav2lip.sync.roc import roc_auc

BETTER = {  # the order is that of the log lines
    "loss": LOWER,
    "accuracy": HIGHER,
    "accuracy_right": HIGHER,
    "accuracy_wrong": HIGHER,
    "auc": HIGHER,
    "cosine_right": HIGHER,
    "cosine_wrong": LOWER,
    **offset_curve.BETTER,
}
PADDING_LABEL = -1.0  # marks padding of processes with fewer pairs


@torch.no_grad()
def score_expert(fabric: Fabric, expert: nn.Module, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
    """Return loss, accuracy on matching and mismatched pairs, ROC-AUC and mean cosines.

    Every pair has the same weight in any batch and process. Collective; leaves the expert in eval mode.
    """
    expert.eval()
    scores = []
    for batch in batches:
        score = match_probability(*predict(fabric, expert, batch.mel, batch.faces)).flatten()
        scores.append(torch.stack([score, batch.label.flatten().to(score.dtype)]))
    score, label = gather_scores(fabric, torch.cat(scores, dim=1)).double()
    has_nan = bool(score.isnan().any())  # torch would raise an error
    loss = math.nan if has_nan else F.binary_cross_entropy(score, label).item()
    return {"loss": loss, **sync_scores(score, label > 0.5)}


def gather_scores(fabric: Fabric, scores: Tensor) -> Tensor:
    """Gather scores and labels (2, N) of all processes on the CPU; N may differ between them. Collective."""
    if fabric.world_size == 1:
        return scores.cpu()
    longest: Any = fabric.all_reduce(torch.tensor(scores.shape[1], device=fabric.device), reduce_op="max")
    padded = F.pad(scores, (0, int(longest) - scores.shape[1]), value=PADDING_LABEL)
    gathered: Any = fabric.all_gather(padded)  # (processes, 2, longest)
    joined = gathered.transpose(0, 1).flatten(1).cpu()
    return joined[:, joined[1] != PADDING_LABEL]


def sync_scores(score: Tensor, is_match: Tensor) -> dict[str, float]:
    """Return accuracies, ROC-AUC and mean cosines of probabilities (N,); all NaN if one kind of pair is missing."""
    true_positives, true_negatives = score[is_match] > 0.5, score[~is_match] <= 0.5
    on_right, on_wrong = true_positives.double().mean().item(), true_negatives.double().mean().item()
    return {
        "accuracy": (on_right + on_wrong) / 2,  # balanced: chance is 0.5 in any mixture
        "accuracy_right": on_right,
        "accuracy_wrong": on_wrong,
        "auc": roc_auc(score.numpy(), is_match.numpy()),
        "cosine_right": score[is_match].mean().item(),
        "cosine_wrong": score[~is_match].mean().item(),
    }
