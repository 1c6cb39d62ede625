"""Rules that all trainers share: pure functions of the validation history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist, median

from scipy.special import bdtrik

from train.callbacks.diagnosis.context import RunContext

CONFIDENCE = 0.99  # scores above it are not chance
RECENT_EVALUATIONS = 3  # their median is diagnosed, because single scores fluctuate
STALL_EVALUATIONS = 5  # without a better score
RISE_FACTOR = 1.05  # a loss above it times the best has risen
FALL_FACTOR = 0.95  # a loss below it times an earlier one has fallen
MIN_IMPROVEMENT = 0.005  # share of the best score
MEMORIZED_RATIO = 0.5  # a training loss below it times the validation loss shows memorized clips
# Ten minutes are 3,000 disjoint windows, which networks of 16 and 36 million weights memorize. Validation has one group
# in twenty, so with fewer than ten its scores are those of one other speaker or none.
MIN_SECONDS = 600.0  # training data; preprocess.report.advice has the same limit
MIN_GROUPS = 10  # folders of clips: speakers or recordings


class Kind(StrEnum):
    """Kind of a diagnosis; also the name of its curve in TensorBoard."""

    LEARNING = "learning"
    TOO_EARLY = "too early to say"
    NOT_LEARNING = "not learning yet"
    OVERFITTING = "overfitting"
    STALLED = "no longer learning"
    LITTLE_DATA = "little data"
    FEW_SPEAKERS = "few speakers"
    WEAK_EXPERT = "weak expert"
    SYNC_STUCK = "sync loss not falling"
    ONE_EXPERT = "pleases its expert alone"
    AUDIO_UNUSED = "lips do not follow the audio"


@dataclass(frozen=True)
class Diagnosis:
    """A finding about a run."""

    kind: Kind
    figures: str
    cause: str = ""  # the likely one; empty if nothing is wrong
    remedies: Sequence[tuple[str, str]] = ()  # purpose, and the command to paste

    def format(self, step: int, short: bool = False) -> str:
        """Return the text: figures, and unless `short` cause and remedies."""
        lines = [f"step {step} | {self.kind}: {self.figures}"]
        if self.cause and not short:
            lines.append(f"  likely cause: {self.cause}")
            lines += [f"  next, {purpose}:\n    {command}" for purpose, command in self.remedies]
        return "\n".join(lines)


@dataclass(frozen=True)
class Evaluation:
    """Scores of a validation."""

    step: int
    train: dict[str, float]  # mean training losses since the previous one
    val: dict[str, float]


@dataclass(frozen=True)
class History:
    """Evaluations in order of their steps; the last one is diagnosed."""

    evaluations: Sequence[Evaluation]
    baselines: dict[str, float] = field(default_factory=dict)  # measured once, before the first diagnosis
    from_weights: bool = False  # the run started from weights of another, for which little data may be enough

    def val(self, term: str) -> list[float]:
        """Return a validation score at each evaluation that has it."""
        return [evaluation.val[term] for evaluation in self.evaluations if term in evaluation.val]

    def recent(self, term: str) -> float:
        """Return the median of a validation score over the last evaluations."""
        return median(self.val(term)[-RECENT_EVALUATIONS:])


def max_chance_accuracy(windows: int) -> float:
    """Return the accuracy that guessing stays below in 99 of 100 validations, by the binomial distribution.

    windows: half matching, half mismatched. A constant guess has exactly 0.5; a coin per window varies most.
    """
    return math.ceil(bdtrik(CONFIDENCE, windows, 0.5)) / windows


def max_chance_auc(windows: int) -> float:
    """Return the ROC-AUC that guessing stays below in 99 of 100 validations (Mann and Whitney 1947, large n).

    With n / 2 matching and n / 2 mismatched windows its variance is (n + 1) / (3 n^2).
    """
    deviation = ((windows + 1) / 3) ** 0.5 / windows
    return min(1.0, 0.5 + NormalDist().inv_cdf(CONFIDENCE) * deviation)


class Trend:
    """Course of a validation loss, compared with the same loss in training."""

    def __init__(self, history: History, term: str):
        """term: a loss such as "loss" or "l1"."""
        losses, evaluations, best = history.val(term), history.evaluations, 0
        for number, loss in enumerate(losses):
            if loss < (1 - MIN_IMPROVEMENT) * losses[best]:
                best = number
        recent = [each.train[term] for each in evaluations[-RECENT_EVALUATIONS:] if term in each.train]
        self.best, self.best_step, self.since = losses[best], evaluations[best].step, len(losses) - 1 - best
        self.now = history.recent(term)
        self.train_now = median(recent) if recent else None
        self.train_at_best = evaluations[best].train.get(term)

    @property
    def is_stalled(self) -> bool:
        """True if the last five evaluations brought no improvement of half a percent."""
        return self.since >= STALL_EVALUATIONS

    @property
    def is_overfitting(self) -> bool:
        """True if training improves while validation gets worse, or if a stalled run has memorized its clips.

        Three evaluations must show it: the validation loss of an expert may double once and come back.
        """
        if self.train_now is None or self.train_at_best is None:
            return False
        has_risen = self.since >= RECENT_EVALUATIONS and self.now > RISE_FACTOR * self.best
        has_memorized = self.is_stalled and self.train_now < MEMORIZED_RATIO * self.now
        return (has_risen and self.train_now < self.train_at_best) or has_memorized

    def describe(self, name: str) -> str:
        """Return the figures."""
        train = "" if self.train_now is None else f", training {name} {self.train_now:.4f}"
        at_best = "" if self.train_at_best is None or not self.since else f" ({self.train_at_best:.4f} at the best)"
        return (f"validation {name} {self.now:.4f} (median of the last {RECENT_EVALUATIONS}); best {self.best:.4f} at "
                f"step {self.best_step}, {self.since} evaluations ago{train}{at_best}")  # fmt: skip


def diagnose_trend(
    context: RunContext, trend: Trend, name: str, scores: str, against_overfitting: Sequence[tuple[str, str]] = ()
) -> Diagnosis | None:
    """Return the diagnosis of a loss that overfits or stalls.

    scores: further figures. against_overfitting: further remedies, purpose and command.
    """
    commands, figures = context.commands, f"{trend.describe(name)}; {scores}"
    slower = commands.rerun(f"learning_rate={context.learning_rate / 5:.1g}", resume=True)
    if trend.is_overfitting:
        return Diagnosis(Kind.OVERFITTING, figures, f"the run memorizes its data, {context.data}", [
            ("stop and use best.pth, or add videos of other speakers; examine the data so far", commands.doctor()),
            *against_overfitting,
            ("or continue at a lower rate", slower),
        ])  # fmt: skip
    if trend.is_stalled:
        larger = commands.rerun(f"grad_accum_steps={4 * commands.grad_accum_steps}", resume=True)
        return Diagnosis(Kind.STALLED, figures, "the learning rate is too high by now, or the run has converged", [
            ("continue at a lower rate", slower), ("or with a larger batch", larger),
        ])  # fmt: skip
    return None


def diagnose_data(context: RunContext, history: History) -> list[Diagnosis]:
    """Return findings about the amount of data; none for a run that started from weights of another."""
    data, doctor, diagnoses = context.data, context.commands.doctor(), []
    if data.seconds < MIN_SECONDS and not history.from_weights:
        figures = f"{data} to train on, less than {MIN_SECONDS / 60:.0f} minutes"
        cause = "enough to try the pipeline or fine-tune a checkpoint, too little to train from scratch"
        remedy = "add videos, or fine-tune a published checkpoint (reset_optimizer=true); examine the data so far"
        diagnoses.append(Diagnosis(Kind.LITTLE_DATA, figures, cause, [(remedy, doctor)]))
    if data.groups < MIN_GROUPS and not history.from_weights:
        figures = f"clips of {data.groups} folders (speakers or recordings), fewer than {MIN_GROUPS}"
        cause = "the model fits these speakers, and scores say little about others"
        remedy = "add videos of other speakers; examine the data so far"
        diagnoses.append(Diagnosis(Kind.FEW_SPEAKERS, figures, cause, [(remedy, doctor)]))
    return diagnoses
