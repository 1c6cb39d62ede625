"""What the expert's trainer does with a batch: gradients of its loss, and its scores on held-out batches.

A step knows its network and its loss; it knows nothing of files, optimizers or logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data import SyncNetInputs
from train.losses import agreement, sync_loss
from wav2lip.metrics import roc_auc


class SyncNetStep:
    """Teach the expert to tell sound that belongs to a mouth from sound that does not."""

    def __init__(self, fabric: Fabric, expert: nn.Module):
        self.fabric, self.expert = fabric, expert

    def begin(self, step: int) -> None:
        """Nothing here depends on the step."""

    def backward(self, batch: SyncNetInputs, share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's loss times `share`; returns the loss."""
        audio, face = self.expert(batch.mel, batch.faces)
        loss = sync_loss(audio, face, batch.label)
        self.fabric.backward(loss * share)
        return {"loss": loss.detach()}

    @torch.no_grad()
    def validate(self, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
        """Loss, share judged right of right and of wrong pairs and their mean, ROC-AUC, mean cosine of each."""
        self.expert.eval()
        scores, labels = [], []
        for batch in batches:
            scores.append(agreement(*self.expert(batch.mel, batch.faces)))
            labels.append(batch.label)
        score = self._of_all_processes(scores).double()
        right = self._of_all_processes(labels) > 0.5
        return {"loss": F.binary_cross_entropy(score, right.double()).item(), **sync_scores(score, right)}

    def _of_all_processes(self, parts: list[Tensor]) -> Tensor:
        gathered: Any = self.fabric.all_gather(torch.cat(parts))
        return gathered.flatten().cpu()

    def state(self) -> dict[str, Any]:
        """What a resume needs besides weights and optimizer."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def after_validation(self, scores: dict[str, float]) -> None:
        """Nothing in this trainer depends on its scores."""


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
