"""What the generator's trainers do with a batch: gradients of their losses, and scores on held-out batches.

A step knows its networks and losses; it knows nothing of files, optimizers or logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.adversary import Adversary
from train.data.samples import GeneratorInputs
from train.expert import judged
from train.features import Features
from train.loss_weights import LossWeights
from train.losses import mouth_l1, sync_loss
from train.scores.generator_scores import BETTER, OF_CRITIC, score_generator
from train.scores.seen import Viewers
from train.trained import asked
from wav2lip.crops import mouths


class GeneratorStep:
    """Teach the generator to paint the true frames, and lips that the expert and the critic believe.

    loss = w_s * sync + w_d * perceptual + w_f * features + (1 - w_s - w_d - w_f) * L1, with the public release's names:
    perceptual is the critic's verdict. The weights may change from step to step; see train.loss_weights.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: nn.Module,
        expert: nn.Module,
        weights: LossWeights,
        *,
        adversary: Adversary | None = None,
        critic_alone: int = 0,
        features: Features | None = None,
        mouth_weight: float = 1.0,
        expert_training_mode: bool = False,
        viewers: Viewers | None = None,
    ):
        """expert: frozen here; its gradients pass through to the generator only.
        adversary: the critic of GAN training; critic_alone: steps at its beginning in which it alone learns.
        features: what frames are compared by besides their pixels.
        mouth_weight: of a pixel of the lower half in the L1 loss, relative to one of the upper half.
        viewers: networks that look at the frames of validations, beside what needs none.
        expert_training_mode: let the expert normalise by batch statistics and overwrite its own, as the release does.
        """
        self.fabric, self.generator, self.weights = fabric, generator, weights
        self.viewers = viewers or Viewers()
        self.watchable: Mapping[str, str] = BETTER | self.viewers.better | (OF_CRITIC if adversary else {})
        self.expert = expert.requires_grad_(False).train(expert_training_mode)
        self.adversary, self.critic_alone = adversary, critic_alone
        self.features, self.mouth_weight = features, mouth_weight
        self._critic_began: int | None = None  # step at which this critic took its first one
        self._alone = False

    def begin(self, step: int) -> None:
        """Take the weights of a step, counted from 0; see whether the critic still learns alone."""
        self.weights.begin(step)
        if self.adversary and self._critic_began is None:
            self._critic_began = step
        self._alone = self._critic_began is not None and step < self._critic_began + self.critic_alone

    def generator_begins(self, step: int) -> int:
        """The step from which the generator learns: after the critic's turn alone, if it has one, else 0.

        step: at which a critic that took no step yet takes its first one.
        """
        if not self.critic_alone:
            return 0
        return (step if self._critic_began is None else self._critic_began) + self.critic_alone

    def backward(self, batch: GeneratorInputs, share: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's loss times `share`, of the generator and of the critic on the same frames.

        Returns: all terms of both losses, and what weight they have.
        """
        if self._alone and self.adversary:
            return self._teach_critic(self.adversary, batch, share)
        fake = self.generator(batch.frame_mels, batch.faces)
        verdicts = {}
        if self.adversary:
            verdicts = self.adversary.learn(fake, batch.target, share, advise=self.weights.critic > 0)
        losses = self.losses(fake, batch, verdicts, with_sync=self.weights.sync > 0)
        self.fabric.backward(losses["loss"] * share)
        return {name: loss.detach() for name, loss in losses.items()} | self._weights()

    def _teach_critic(self, adversary: Adversary, batch: GeneratorInputs, share: float) -> dict[str, Tensor]:
        """The critic's turn alone; the generator keeps even its batch statistics, so it is in eval mode here."""
        self.generator.eval()
        with torch.no_grad():
            fake = self.generator(batch.frame_mels, batch.faces)
        return adversary.learn(fake, batch.target, share, advise=False)

    def _weights(self) -> dict[str, Tensor]:
        """The weights in force, for the curves."""
        weights = {"sync_weight": self.weights.sync}
        if self.adversary:
            weights["perceptual_weight"] = self.weights.critic
        if self.features:
            weights["features_weight"] = self.weights.features
        return {name: torch.tensor(weight) for name, weight in weights.items()}

    def losses(
        self, fake: Tensor, batch: GeneratorInputs, verdicts: dict[str, Tensor], with_sync: bool = True
    ) -> dict[str, Tensor]:
        """Every term of the loss and their sum.

        fake: (B, 3, 5, H, W) generated frames; verdicts: the critic's on them, none without a critic.
        The expert is not asked when its answer would not count.
        """
        losses = {"l1": mouth_l1(fake, batch.target, 1.0)}
        total = self.weights.l1 * self._reconstruction(fake, batch, losses)
        if with_sync:
            with self.fabric.autocast():
                losses["sync"] = sync_loss(*judged(self.expert, batch.window_mel, mouths(fake)))
            total = total + self.weights.sync * losses["sync"]
        if verdicts:
            total = total + self.weights.critic * verdicts["perceptual"]
        if self.features:
            with self.fabric.autocast():
                losses["features"] = self.features(fake, batch.target)
            total = total + self.weights.features * losses["features"]
        return {"loss": total, **losses, **verdicts}

    def _reconstruction(self, fake: Tensor, batch: GeneratorInputs, losses: dict[str, Tensor]) -> Tensor:
        """The L1 term that is learned from; beside the plain one where the mouth has a weight of its own."""
        if self.mouth_weight == 1:
            return losses["l1"]
        losses["weighted_l1"] = mouth_l1(fake, batch.target, self.mouth_weight)
        return losses["weighted_l1"]

    def validate(self, batches: Iterable[GeneratorInputs]) -> dict[str, float]:
        """Scores on held-out batches; see train.scores.generator_scores."""
        return score_generator(self.fabric, self.generator, self.expert, batches, self.all_losses, self.viewers)

    def all_losses(self, fake: Tensor, batch: GeneratorInputs) -> dict[str, Tensor]:
        """Every term, whatever its weight, without gradients."""
        return self.losses(fake, batch, self.adversary.losses(fake, batch.target) if self.adversary else {})

    def shown(self, batch: GeneratorInputs) -> tuple[Tensor, Tensor]:
        """Generated lips and sounds as the expert takes them."""
        return mouths(asked(self.fabric, self.generator, batch.frame_mels, batch.faces)), batch.window_mel

    def after_validation(self, scores: dict[str, float]) -> None:
        """Switch the sync loss on once the lips have begun to follow."""
        self.weights.after_validation(scores["sync"])

    def state(self) -> dict[str, Any]:
        """What a resume needs besides weights and optimizer."""
        return {**self.weights.state(), "critic_began": self._critic_began}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave, or a part of it; critic_began None says that the critic is a new one."""
        self.weights.load_state(state)
        if "critic_began" in state:
            self._critic_began = state["critic_began"]
