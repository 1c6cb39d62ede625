"""Training step of the generator: networks, losses and gradients, without files, optimizers or logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.checkpoint.plain_state import parse_state
from train.data.samples import GeneratorInputs
from train.losses.distillation import attention_distance
from train.losses.perceptual import VGGFeatures
from train.losses.reconstruction import mouth_weighted_l1
from train.losses.sync import sync_loss
from train.losses.weights import LossWeights
from train.steps.adversary import Adversary
from train.sync_expert import embed
from train.trainable import predict
from train.validation.generator import (
    BETTER,
    BETTER_FEATURES,
    BETTER_GAN,
    BETTER_SECOND,
    BETTER_TEACHER,
    score_generator,
)
from train.validation.image_quality import QualityNetworks
from wav2lip.audio.windows import WINDOW_FRAMES
from wav2lip.faces.tensors import crop_mouths


@dataclass
class AdversaryState:
    """State of adversarial training in a checkpoint."""

    disc_first_step: int | None = None


class GeneratorStep:
    """Trains the generator to reconstruct frames that the expert and the discriminator accept.

    loss = syncnet_wt * sync + disc_wt * gan_generator + feature_matching_wt * feature_matching + vgg_wt * vgg
        + teacher_wt * (teacher + a factor * teacher_attention) + (1 - the sum of these weights) * l1,
    with weights that may change from step to step; see train.losses.weights.
    """

    def __init__(
        self,
        fabric: Fabric,
        generator: nn.Module,
        expert: nn.Module,
        weights: LossWeights,
        *,
        adversary: Adversary | None = None,
        disc_warmup_steps: int = 0,
        vgg: VGGFeatures | None = None,
        mouth_weight: float = 1.0,
        frames_without_sync: int = WINDOW_FRAMES,
        sync_windows: int | None = None,
        expert_training_mode: bool = False,
        quality_networks: QualityNetworks | None = None,
        second_expert: nn.Module | None = None,
        teacher: nn.Module | None = None,
        teacher_attention: float = 0.0,
    ):
        """expert: frozen here; its gradients reach the generator alone.
        adversary: the discriminator of GAN training; disc_warmup_steps: its first steps, in which it trains alone.
        vgg: network of the perceptual loss.
        mouth_weight: weight of a pixel of the lower half in the L1 loss, relative to the upper half.
        frames_without_sync: frames of each window that are trained in steps without sync loss or discriminator.
        sync_windows: windows of each batch that are trained in the other steps; None: all.
        expert_training_mode: the expert normalizes by batch statistics and updates its running ones, as in upstream.
        quality_networks: networks that score the frames of validations.
        second_expert: scores validations beside `expert`; the generator is not trained against it.
        teacher: a trained generator of the same resolution, frozen here, whose frames are a second target.
        teacher_attention: factor of the distance to its attention maps, beside that to its frames.
        """
        self.fabric, self.generator, self.weights = fabric, generator, weights
        self.quality_networks = quality_networks or QualityNetworks()
        optional = (BETTER_GAN if adversary else {}) | (BETTER_SECOND if second_expert is not None else {})
        optional |= {} if teacher is None else BETTER_TEACHER
        optional |= BETTER_FEATURES if adversary and adversary.matches_features else {}
        self.monitorable: Mapping[str, str] = BETTER | self.quality_networks.better | optional
        self.expert = expert.requires_grad_(False).train(expert_training_mode)
        self.second_expert = None if second_expert is None else second_expert.requires_grad_(False).eval()
        self.teacher = None if teacher is None else teacher.requires_grad_(False).eval()
        self.teacher_attention = teacher_attention
        self.adversary, self.disc_warmup_steps = adversary, disc_warmup_steps
        self.vgg, self.mouth_weight = vgg, mouth_weight
        self.frames_without_sync, self.sync_windows = frames_without_sync, sync_windows
        self._disc_first_step: int | None = None
        self._disc_warmup = False

    def set_step(self, step: int) -> None:
        """Set the optimizer step, counted from 0: loss weights, and whether the discriminator still trains alone."""
        self.weights.set_step(step)
        if self.adversary:
            self.adversary.set_step(step)
            if self._disc_first_step is None:
                self._disc_first_step = step
        self._disc_warmup = self._disc_first_step is not None and step < self._disc_first_step + self.disc_warmup_steps

    def generator_first_step(self, step: int) -> int:
        """First step of the generator: after the discriminator's warm-up, if it has one, else 0.

        step: the first step of a discriminator that has not trained yet.
        """
        if not self.disc_warmup_steps:
            return 0
        return (step if self._disc_first_step is None else self._disc_first_step) + self.disc_warmup_steps

    def backward(self, batch: GeneratorInputs, scale: float = 1.0) -> dict[str, Tensor]:
        """Add the gradients of a batch's losses times `scale` to the generator and the discriminator.

        Returns: all terms of both losses and their weights.
        """
        if self._disc_warmup and self.adversary:
            return self._backward_discriminator(self.adversary, batch, scale)
        batch = self._trained_part(batch)
        features = None
        if self.teacher_attention:
            fake, features = self.generator(batch.frame_mels, batch.faces, True)
        else:
            fake = self.generator(batch.frame_mels, batch.faces)
        losses = self.losses(fake, batch, features)
        self.fabric.backward(losses["loss"] * scale)
        if self.adversary:
            losses = self.adversary.backward(fake, batch.target, scale) | losses
        return {name: loss.detach() for name, loss in losses.items()} | self._current_weights()

    def forward(self, batch: GeneratorInputs) -> Tensor:
        """Generate the frames (B, 3, T, H, W) that a training step with this batch would train."""
        batch = self._trained_part(batch)
        frames: Tensor = predict(self.fabric, self.generator, batch.frame_mels, batch.faces)
        return frames

    def _trained_part(self, batch: GeneratorInputs) -> GeneratorInputs:
        if self.weights.syncnet == 0 and self.adversary is None:
            return batch.first_frames(self.frames_without_sync)
        return batch.first_windows(self.sync_windows)

    def _backward_discriminator(self, adversary: Adversary, batch: GeneratorInputs, scale: float) -> dict[str, Tensor]:
        """Train the discriminator alone. The generator is in eval mode, so its batch statistics stay too."""
        self.generator.eval()
        with torch.no_grad():
            fake = self.generator(batch.frame_mels, batch.faces)
        return adversary.backward(fake, batch.target, scale)

    def losses(
        self, fake: Tensor, batch: GeneratorInputs, features: list[Tensor] | None = None, *, validation: bool = False
    ) -> dict[str, Tensor]:
        """Terms of the generator's loss, and "loss", their weighted sum.

        fake: (B, 3, 5, H, W) generated frames. features: of the generator, which are compared with the teacher's.
        validation: compute the terms without weight too, and the discriminator's losses; without gradients.
        """
        weights, losses = self.weights, self._reconstruction(fake, batch)
        total = weights.l1 * losses.get("weighted_l1", losses["l1"])
        if validation or weights.syncnet > 0:
            with self.fabric.autocast():
                losses["sync"] = sync_loss(*embed(self.expert, batch.window_mel, crop_mouths(fake)))
            total = total + weights.syncnet * losses["sync"]
        if self.adversary and validation:
            losses |= self.adversary.losses(fake, batch.target)
        elif self.adversary and (weights.disc > 0 or weights.feature_matching > 0):
            losses |= self.adversary.generator_losses(fake, batch.target)
        if "gan_generator" in losses:
            total = total + weights.disc * losses["gan_generator"]
        if "feature_matching" in losses:
            total = total + weights.feature_matching * losses["feature_matching"]
        if self.vgg:
            with self.fabric.autocast():
                losses["vgg"] = self.vgg(fake, batch.target)
            total = total + weights.vgg * losses["vgg"]
        if self.teacher is not None and (validation or weights.teacher > 0):
            losses |= self._imitate(self.teacher, fake, batch, features)
            distance = losses["teacher"]
            if "teacher_attention" in losses:
                distance = distance + self.teacher_attention * losses["teacher_attention"]
            total = total + weights.teacher * distance
        return {"loss": total, **losses}

    def _reconstruction(self, fake: Tensor, batch: GeneratorInputs) -> dict[str, Tensor]:
        """The plain L1 loss, which is always logged, and the weighted one if the mouth has a weight."""
        losses = {"l1": mouth_weighted_l1(fake, batch.target, 1.0)}
        if self.mouth_weight != 1:
            losses["weighted_l1"] = mouth_weighted_l1(fake, batch.target, self.mouth_weight)
        return losses

    def _imitate(
        self, teacher: nn.Module, fake: Tensor, batch: GeneratorInputs, features: list[Tensor] | None
    ) -> dict[str, Tensor]:
        """Distances to the frames of the teacher and, if there are features, to its attention maps."""
        with torch.no_grad():
            if features is None:
                frames, expected = predict(self.fabric, teacher, batch.frame_mels, batch.faces), []
            else:
                frames, expected = predict(self.fabric, teacher, batch.frame_mels, batch.faces, True)
        losses = {"teacher": mouth_weighted_l1(fake, frames, self.mouth_weight)}
        if features is not None:
            losses["teacher_attention"] = attention_distance(features, expected)
        return losses

    def _current_weights(self) -> dict[str, Tensor]:
        """Loss weights, for the curves."""
        weights = {"syncnet_wt": self.weights.syncnet}
        if self.adversary:
            weights["disc_wt"] = self.weights.disc
            if self.adversary.matches_features:
                weights["feature_matching_wt"] = self.weights.feature_matching
        if self.vgg:
            weights["vgg_wt"] = self.weights.vgg
        if self.teacher is not None:
            weights["teacher_wt"] = self.weights.teacher
        return {name: torch.tensor(weight) for name, weight in weights.items()}

    def validate(self, batches: Iterable[GeneratorInputs]) -> dict[str, float]:
        """Score validation batches; see train.validation.generator."""
        return score_generator(
            self.fabric, self.generator, self.expert, batches, self.validation_losses, self.quality_networks,
            self.second_expert,
        )  # fmt: skip

    def validation_losses(self, fake: Tensor, batch: GeneratorInputs) -> dict[str, Tensor]:
        """All terms, whatever their weight, without gradients."""
        return self.losses(fake, batch, validation=True)

    def expert_inputs(self, batch: GeneratorInputs) -> tuple[Tensor, Tensor]:
        """Generated mouths and audio as the expert takes them."""
        return crop_mouths(predict(self.fabric, self.generator, batch.frame_mels, batch.faces)), batch.window_mel

    def on_validation(self, scores: dict[str, float]) -> None:
        """Switch the sync loss on once the validation's is low enough."""
        self.weights.on_validation(scores["sync"])

    def state_dict(self) -> dict[str, Any]:
        """State besides weights and optimizer."""
        return {**self.weights.state_dict(), "disc_first_step": self._disc_first_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore state, or a part of it; disc_first_step None: the discriminator is new."""
        self.weights.load_state_dict(state)
        if "disc_first_step" in state:
            self._disc_first_step = parse_state(AdversaryState, state).disc_first_step
