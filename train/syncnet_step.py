"""What the expert's trainer does with a batch: gradients of its loss, and its scores on held-out batches.

A step knows its network and its loss; it knows nothing of files, optimizers or logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data import SyncNetInputs
from train.losses import sync_loss
from train.syncnet_scores import BETTER, score_expert


class SyncNetStep:
    """Teach the expert to tell sound that belongs to a mouth from sound that does not."""

    watchable: Mapping[str, str] = BETTER

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

    def validate(self, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
        """Scores on held-out batches; see train.syncnet_scores."""
        return score_expert(self.fabric, self.expert, batches)

    def shown(self, batch: SyncNetInputs) -> tuple[Tensor, Tensor]:
        """Lips and sounds as the expert takes them."""
        return batch.faces, batch.mel

    def state(self) -> dict[str, Any]:
        """What a resume needs besides weights and optimizer."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def after_validation(self, scores: dict[str, float]) -> None:
        """Nothing in this trainer depends on its scores."""
