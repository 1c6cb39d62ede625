"""Training step of the lip-sync expert: network, loss and gradients, without files, optimizers or logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from train.data.samples import SyncNetInputs
from train.losses.contrastive import PairwiseSimilarity
from train.losses.sync import sync_loss
from train.trainable import predict
from train.validation.syncnet import BETTER, score_expert


@dataclass(frozen=True)
class Objective:
    """Loss of the expert; the default is upstream's."""

    all_pairs: bool = False  # all pairs of one clip in the batch; otherwise each sample is one labelled pair
    min_negative_offset: int = 5  # frames between two windows of a clip from which on they are a negative pair
    infonce_wt: float = 0.0  # weight of InfoNCE beside the cross-entropy, with all_pairs
    infonce_temperature: float = 0.07


class SyncNetStep:
    """Trains the expert to distinguish matching from mismatched audio and mouths."""

    monitorable: Mapping[str, str] = BETTER
    second_expert: nn.Module | None = None

    def __init__(self, fabric: Fabric, expert: nn.Module, objective: Objective | None = None):
        self.fabric, self.expert, self.objective = fabric, expert, objective or Objective()

    def set_step(self, step: int) -> None:
        """No-op: the loss is the same at every step."""

    def backward(self, batch: SyncNetInputs, scale: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's loss times `scale`.

        Returns: "loss", the cross-entropy, comparable to the validation's; "infonce" if it has a weight.
        """
        audio, face = self.expert(batch.mel, batch.faces)
        losses = self.losses(audio, face, batch)
        total = losses["loss"]
        if "infonce" in losses:
            total = total + self.objective.infonce_wt * losses["infonce"]
        self.fabric.backward(total * scale)
        return {name: loss.detach() for name, loss in losses.items()}

    def forward(self, batch: SyncNetInputs) -> tuple[Tensor, ...]:
        """Embed a batch as a training step does, in one process."""
        audio, face = predict(self.fabric, self.expert, batch.mel, batch.faces)
        return audio, face

    def losses(self, audio: Tensor, face: Tensor, batch: SyncNetInputs) -> dict[str, Tensor]:
        """Terms of the loss for embeddings (B, D)."""
        if not self.objective.all_pairs:
            return {"loss": sync_loss(audio, face, batch.label)}
        tensors = (audio, face, batch.audio_position, batch.face_position)
        audio, face, audio_position, face_position = map(self._gather, tensors)
        pairs = PairwiseSimilarity.from_embeddings(
            audio, face, audio_position, face_position, self.objective.min_negative_offset
        )
        losses = {"loss": pairs.cross_entropy()}
        if self.objective.infonce_wt:
            losses["infonce"] = pairs.info_nce(self.objective.infonce_temperature)
        return losses

    def _gather(self, tensor: Tensor) -> Tensor:
        """Concatenate (B, ...) of all processes in the order of their ranks.

        Every process computes the loss of all pairs. Gradients of gathered tensors are summed over the processes and
        then averaged like those of any loss, which gives the gradients of one process with the whole batch.
        """
        if self.fabric.world_size == 1:
            return tensor
        gathered: Any = self.fabric.all_gather(tensor, sync_grads=tensor.requires_grad)
        return gathered.flatten(0, 1)

    def validate(self, batches: Iterable[SyncNetInputs]) -> dict[str, float]:
        """Score validation batches; see train.validation.syncnet."""
        return score_expert(self.fabric, self.expert, batches)

    def expert_inputs(self, batch: SyncNetInputs) -> tuple[Tensor, Tensor]:
        """Mouths and audio as the expert takes them."""
        return batch.faces, batch.mel

    def on_validation(self, scores: dict[str, float]) -> None:
        """No-op: the loss does not depend on scores."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: all state is in weights and optimizer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No-op."""
