"""What the generator's trainers do with a batch: gradients of their losses, and scores on held-out batches.

A step knows its networks and losses; it knows nothing of files, optimizers or logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.adversary import Adversary
from train.data import GeneratorInputs
from train.generator_scores import score_generator
from train.losses import sync_loss
from wav2lip.crops import mouths


class GeneratorStep:
    """Teach the generator to paint the true frames, and lips that the expert and the critic believe.

    loss = w_s * sync + w_d * perceptual + (1 - w_s - w_d) * L1. The sync weight w_s begins at 0 and switches on for
    good once validation shows that the lips have begun to follow: before that the expert's advice only disturbs.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: nn.Module,
        expert: nn.Module,
        *,
        sync_weight: float,
        sync_weight_on: float,
        sync_threshold: float,
        adversary: Adversary | None = None,
        adversary_weight: float = 0.0,
        expert_training_mode: bool = False,
    ):
        """expert: frozen here; its gradients pass through to the generator only.
        sync_weight: w_s at the start; sync_weight_on: w_s after a validation with a sync loss below sync_threshold.
        adversary: the critic of GAN training, adversary_weight its w_d.
        expert_training_mode: let the expert normalise by batch statistics and overwrite its own, as the release does.
        """
        self.fabric, self.generator = fabric, generator
        self.expert = expert.requires_grad_(False).train(expert_training_mode)
        self.sync_weight_off, self.sync_weight_on, self.sync_threshold = sync_weight, sync_weight_on, sync_threshold
        self.sync_on = False
        self.adversary, self.adversary_weight = adversary, adversary_weight

    @property
    def sync_weight(self) -> float:
        """w_s as it is now."""
        return max(self.sync_weight_off, self.sync_weight_on) if self.sync_on else self.sync_weight_off

    def begin(self, step: int) -> None:
        """Nothing here depends on the step."""

    def backward(self, batch: GeneratorInputs, share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's loss times `share`, of the generator and of the critic on the same frames.

        Returns: all terms of both losses.
        """
        fake = self.generator(batch.frame_mels, batch.faces)
        verdicts = {}
        if self.adversary:
            verdicts = self.adversary.learn(fake, batch.target, share, advise=self.adversary_weight > 0)
        losses = self.losses(fake, batch, verdicts, with_sync=self.sync_weight > 0)
        self.fabric.backward(losses["loss"] * share)
        return {name: loss.detach() for name, loss in losses.items()}

    def losses(
        self, fake: Tensor, batch: GeneratorInputs, verdicts: dict[str, Tensor], with_sync: bool = True
    ) -> dict[str, Tensor]:
        """Every term of the loss and their sum.

        fake: (B, 3, 5, 96, 96) generated frames; verdicts: the critic's on them, none without a critic.
        The expert is not asked when its answer would not count.
        """
        reconstruction = F.l1_loss(fake, batch.target)
        losses = {"l1": reconstruction}
        total = (1 - self.sync_weight - self.adversary_weight) * reconstruction
        if with_sync:
            with self.fabric.autocast():
                losses["sync"] = sync_loss(*self.expert(batch.window_mel, mouths(fake)))
            total = total + self.sync_weight * losses["sync"]
        if verdicts:
            total = total + self.adversary_weight * verdicts["perceptual"]
        return {"loss": total, **losses, **verdicts}

    def validate(self, batches: Iterable[GeneratorInputs]) -> dict[str, float]:
        """Scores on held-out batches; see train.generator_scores."""
        return score_generator(self.fabric, self.generator, self.expert, batches, self.all_losses)

    def all_losses(self, fake: Tensor, batch: GeneratorInputs) -> dict[str, Tensor]:
        """Every term, whatever its weight, without gradients."""
        return self.losses(fake, batch, self.adversary.losses(fake, batch.target) if self.adversary else {})

    def after_validation(self, scores: dict[str, float]) -> None:
        """Switch the sync loss on once the lips have begun to follow."""
        if scores["sync"] < self.sync_threshold:
            self.sync_on = True

    def state(self) -> dict[str, Any]:
        """What a resume needs besides weights and optimizer."""
        return {"sync_on": self.sync_on}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.sync_on = state.get("sync_on", self.sync_on)
