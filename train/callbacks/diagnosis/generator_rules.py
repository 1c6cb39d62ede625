"""Rules for the generator: reconstruction of faces, and lips in sync with the audio, against baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from train.callbacks.diagnosis import rules
from train.callbacks.diagnosis.context import RunContext
from train.callbacks.diagnosis.rules import Diagnosis, History, Kind, Trend
from train.data.samples import GeneratorInputs
from train.losses.sync import match_probability
from train.sync_expert import eval_mode
from train.validation.generator import SECOND_SYNC
from train.validation.syncnet import gather_scores, sync_scores
from wav2lip.evaluation.metrics.image import lower_halves
from wav2lip.faces.tensors import crop_mouths

WEAK_AUC = 0.75  # an expert below it ranks a quarter of the pairs wrong
MAX_SUGGESTED_WEIGHT = 0.5
AUGMENTATION = ("flip=0.5", "color_jitter=0.2")  # measured in docs/training.md, "More speakers and augmentation"
# With shifted audio, lips that followed had 0.14 and more, others 0 to 0.012: docs/finetuning.md, "Other audio".
MIN_AUDIO_SENSITIVITY = 0.02
MAX_EXPERT_GAP = 0.3  # sync loss by which a second expert may rate generated frames worse than the training expert


class GeneratorRules:
    """Diagnoses a generator from its validation L1 and sync loss, against baselines on the same windows."""

    metrics = (
        "l1",
        "sync",
        "sync_of_truth",
        "sync_of_input",
        SECOND_SYNC,
        f"{SECOND_SYNC}_of_truth",
        "audio_sensitivity",
    )

    def __init__(
        self, context: RunContext, *, fabric: Fabric, expert: nn.Module, expert_path: str, sync_threshold: float,
        sync_weight: float,
    ):  # fmt: skip
        """sync_threshold: validation sync loss below which the sync loss is switched on, with `sync_weight`."""
        self.context, self.fabric, self.expert, self.expert_path = context, fabric, expert, expert_path
        self.sync_threshold, self.sync_weight = sync_threshold, sync_weight
        self.chance_auc = rules.max_chance_auc(context.data.independent_windows)

    def measure_baselines(self, batches: Callable[[], Iterable[GeneratorInputs]]) -> dict[str, float]:
        """Score the expert on these windows, and the L1 of trivial generators."""
        return measure_baselines(self.fabric, self.expert, batches)

    def diagnose(self, history: History) -> list[Diagnosis]:
        """Return the main diagnosis, from L1; then findings about sync and expert, and about the data."""
        data = rules.diagnose_data(self.context, history)
        return [self._diagnose_reconstruction(history), *self._diagnose_sync(history), *data]

    def _diagnose_reconstruction(self, history: History) -> Diagnosis:
        """Compare L1 with the mean mouth, which a static head makes hard to beat: a falling L1 is accepted too."""
        trend, losses, baselines = Trend(history, "l1"), history.val("l1"), history.baselines
        commands = self.context.commands
        trivial = (f"the mean mouth in every frame has {baselines['l1_of_mean']:.4f}, the reference's mouth "
                   f"{baselines['l1_of_copy']:.4f}")  # fmt: skip
        figures = f"validation L1 {trend.now:.4f} ({losses[0]:.4f} at step {history.evaluations[0].step}); {trivial}"
        if trend.now >= baselines["l1_of_mean"]:
            if len(losses) < rules.RECENT_EVALUATIONS:
                return Diagnosis(Kind.TOO_EARLY, figures)
            if losses[-1] > rules.FALL_FACTOR * losses[max(0, len(losses) - 1 - rules.STALL_EVALUATIONS)]:
                rate = f"learning_rate={self.context.learning_rate / 5:.1g}"
                cause = "a learning rate too high or far too low, or sync and GAN weights that leave L1 too little"
                return Diagnosis(Kind.NOT_LEARNING, figures, cause, [
                    ("check that the trainer works", commands.overfit_test()),
                    ("try a lower rate", commands.rerun(rate)),
                ])  # fmt: skip
        remedy = ("or mirror faces and vary their colors", commands.rerun(*AUGMENTATION, resume=True))
        augment = [] if commands.sets("flip", "color_jitter") else [remedy]
        return rules.diagnose_trend(self.context, trend, "L1", trivial, augment) or Diagnosis(Kind.LEARNING, figures)

    def _diagnose_sync(self, history: History) -> list[Diagnosis]:
        auc, last = history.baselines["expert_auc"], history.evaluations[-1].val
        is_weak = auc <= max(WEAK_AUC, self.chance_auc)
        losses = (f"sync loss {history.recent('sync'):.3f} on generated frames, {last['sync_of_truth']:.3f} on true "
                  f"ones, {last['sync_of_input']:.3f} on frames of another moment")  # fmt: skip
        weights = self.expert_path if auc > self.chance_auc else None  # weights at chance are no start
        retrain = ("train the expert on this data", self.context.commands.train_expert(weights))
        diagnoses = []
        if is_weak:
            diagnoses.append(self._weak_expert(history.baselines, losses, last["sync_of_truth"], retrain))
        if self._is_stuck(history, is_weak):
            weight = f"syncnet_wt_on={min(3 * self.sync_weight, MAX_SUGGESTED_WEIGHT):.2g}"
            larger = ("a larger weight", self.context.commands.rerun(weight, resume=True))
            cause = "the sync loss has too little weight, or was switched on before faces were reconstructed well"
            cause, remedy = ("the expert is weak on this data", retrain) if is_weak else (cause, larger)
            diagnoses.append(Diagnosis(Kind.SYNC_STUCK, losses, cause, [remedy]))
        if SECOND_SYNC in last:
            diagnoses += self._compare_experts(last)
        return diagnoses + self._diagnose_audio(history)

    def _diagnose_audio(self, history: History) -> list[Diagnosis]:
        """Ask whether wrong audio raises the error of the mouth, which no expert has to judge."""
        if len(history.val("audio_sensitivity")) < rules.RECENT_EVALUATIONS:
            return []
        sensitivity = history.recent("audio_sensitivity")
        if sensitivity >= MIN_AUDIO_SENSITIVITY:
            return []
        figures = (f"wrong audio raises the error of the mouth by {sensitivity:.1%} (needed: "
                   f"{MIN_AUDIO_SENSITIVITY:.0%})")  # fmt: skip
        cause = ("too few steps so far, too little speech, too few people, or audio and lips that do not match; "
                 "images are sharp long before")  # fmt: skip
        check = ("check and correct the sync of the data", self.context.commands.sync())
        return [Diagnosis(Kind.AUDIO_UNUSED, figures, cause, [check])]

    def _compare_experts(self, scores: Mapping[str, float]) -> list[Diagnosis]:
        """Compare how far the training expert and a second one rate generated frames below true ones."""
        gaps = [scores[name] - scores[f"{name}_of_truth"] for name in ("sync", SECOND_SYNC)]
        if gaps[1] - max(gaps[0], 0) < MAX_EXPERT_GAP:
            return []
        figures = (f"the generator pleases its expert, not a second one: sync loss {scores['sync']:.3f} and "
                   f"{scores[SECOND_SYNC]:.3f}, on true frames {scores['sync_of_truth']:.3f} and "
                   f"{scores[f'{SECOND_SYNC}_of_truth']:.3f}")  # fmt: skip
        cause = "the sync loss has so much weight, or so early, that patterns which only its expert reads pay off"
        remedies = [
            ("look at the previews, and lower the weight", self.context.commands.rerun(
                "syncnet_wt=0", f"syncnet_wt_on={self.sync_weight / 3:.2g}")),
        ]  # fmt: skip
        return [Diagnosis(Kind.ONE_EXPERT, figures, cause, remedies)]

    def _is_stuck(self, history: History, is_weak: bool) -> bool:
        """Return whether the sync loss has not fallen by 5 % in three evaluations of training on it.

        A loss as low as that of the true frames is accepted, except with a weak expert, which scores all frames alike.
        """
        sync_evaluations = [evaluation for evaluation in history.evaluations if "sync" in evaluation.train]
        if len(sync_evaluations) <= rules.RECENT_EVALUATIONS:
            return False
        first, now = sync_evaluations[0].val["sync"], history.recent("sync")
        truth = history.evaluations[-1].val["sync_of_truth"]
        return now > rules.FALL_FACTOR * first and (is_weak or now > rules.RISE_FACTOR * truth)

    def _weak_expert(
        self, baselines: dict[str, float], losses: str, truth: float, retrain: tuple[str, str]
    ) -> Diagnosis:
        figures = (f"on true validation frames the expert has accuracy {baselines['expert_accuracy']:.3f} and AUC "
                   f"{baselines['expert_auc']:.3f} (chance: up to {self.chance_auc:.3f}; needed: {WEAK_AUC}); "
                   f"{losses}")  # fmt: skip
        if truth >= self.sync_threshold:
            figures += (f". The sync loss is switched on below {self.sync_threshold}, which not even true frames "
                        "reach, so it may never count")  # fmt: skip
        cause = "the expert does not fit these speakers, or audio and lips of this data do not match"
        check = ("check and correct the sync of the data", self.context.commands.sync())
        return Diagnosis(Kind.WEAK_EXPERT, figures, cause, [check, retrain])


@torch.no_grad()
def measure_baselines(
    fabric: Fabric, expert: nn.Module, batches: Callable[[], Iterable[GeneratorInputs]]
) -> dict[str, float]:
    """Score the expert and two trivial generators. Collective.

    batches: returns the batches of a validation; called twice.
    Returns:
        expert_accuracy, expert_auc: of the expert on true frames (matching) and on reference frames (mismatched) with
            the audio of the true ones. A few references overlap the true frames, so a perfect expert scores slightly
            below 1.
        l1_of_copy: L1 over the whole frame if the lower half were that of the reference frame.
        l1_of_mean: the same with the mean lower half of all targets, the best constant output.
    """
    mean, scores, sums = _mean_mouth(fabric, batches()), [], torch.zeros(3, device=fabric.device)
    with eval_mode(expert), fabric.autocast():
        for batch in batches():
            reference = batch.faces[:, 3:]
            for frames, label in ((batch.target, 1), (reference, 0)):
                score = match_probability(*expert(batch.window_mel, crop_mouths(frames))).flatten()
                scores.append(torch.stack([score, torch.full_like(score, label)]))
            target = lower_halves(batch.target).float()  # (N, 3, H / 2, W)
            outputs = (lower_halves(reference).float(), mean)
            errors = [(target - output).abs().mean(dim=(1, 2, 3)).sum() for output in outputs]
            sums += torch.stack([*errors, sums.new_tensor(len(target))])
    score, label = gather_scores(fabric, torch.cat(scores, dim=1)).double()
    expert_scores = sync_scores(score, label > 0.5)
    total: Any = fabric.all_reduce(sums, reduce_op="sum")
    copy, constant = (total[:2] / (2 * total[2])).tolist()  # the upper half of a frame has no error
    return {"expert_accuracy": expert_scores["accuracy"], "expert_auc": expert_scores["auc"],
            "l1_of_copy": copy, "l1_of_mean": constant}  # fmt: skip


def _mean_mouth(fabric: Fabric, batches: Iterable[GeneratorInputs]) -> Tensor:
    """Return the mean lower half of all target frames, (3, H / 2, W)."""
    total, count = torch.zeros((), device=fabric.device), torch.zeros((), device=fabric.device)
    for batch in batches:
        halves = lower_halves(batch.target).float()
        total, count = total + halves.sum(dim=0), count + len(halves)
    reduced: Any = fabric.all_reduce({"total": total, "count": count}, reduce_op="sum")
    return reduced["total"] / reduced["count"]
