"""What the expert's trainer does with a batch: gradients of its loss, and its scores on held-out batches.

A step knows its network and its loss; it knows nothing of files, optimizers or logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from train.contrast import Pairs
from train.data.samples import SyncNetInputs
from train.losses import sync_loss
from train.scores.syncnet_scores import BETTER, score_expert


@dataclass(frozen=True)
class Objective:
    """What the expert minimises."""

    all_pairs: bool = False  # every sound with every mouth of its clip in the batch; otherwise each sample is one pair
    min_shift: int = 5  # frames from which on sound and mouth of one clip are a wrong pair
    contrast_weight: float = 0.0  # of InfoNCE beside the cross-entropy, with all_pairs
    temperature: float = 0.07  # of InfoNCE


class SyncNetStep:
    """Teach the expert to tell sound that belongs to a mouth from sound that does not."""

    watchable: Mapping[str, str] = BETTER

    def __init__(self, fabric: Fabric, expert: nn.Module, objective: Objective | None = None):
        """objective: None is the public release's."""
        self.fabric, self.expert, self.objective = fabric, expert, objective or Objective()

    def begin(self, step: int) -> None:
        """Nothing here depends on the step."""

    def backward(self, batch: SyncNetInputs, share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's loss times `share`.

        Returns: "loss", the cross-entropy, which has the scale of the held-out one; "contrast", if it has a weight.
        """
        audio, face = self.expert(batch.mel, batch.faces)
        losses = self.losses(audio, face, batch)
        total = losses["loss"]
        if "contrast" in losses:
            total = total + self.objective.contrast_weight * losses["contrast"]
        self.fabric.backward(total * share)
        return {name: loss.detach() for name, loss in losses.items()}

    def losses(self, audio: Tensor, face: Tensor, batch: SyncNetInputs) -> dict[str, Tensor]:
        """The terms that are added up, of embeddings (B, D)."""
        if not self.objective.all_pairs:
            return {"loss": sync_loss(audio, face, batch.label)}
        audio, face, heard, shown = (self._of_all(part) for part in (audio, face, batch.heard, batch.shown))
        pairs = Pairs.of(audio, face, heard, shown, self.objective.min_shift)
        losses = {"loss": pairs.cross_entropy()}
        if self.objective.contrast_weight:
            losses["contrast"] = pairs.info_nce(self.objective.temperature)
        return losses

    def _of_all(self, part: Tensor) -> Tensor:
        """A part of the batch (B, ...) from all processes, in the order of their ranks.

        Every process computes the loss of all pairs. Gradients of what was gathered are summed over the processes and
        then averaged, as those of every loss are, so they are those of one process with the whole batch.
        """
        if self.fabric.world_size == 1:
            return part
        gathered: Any = self.fabric.all_gather(part, sync_grads=part.requires_grad)
        return gathered.flatten(0, 1)

    def validate(self, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
        """Scores on held-out batches; see train.scores.syncnet_scores."""
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
