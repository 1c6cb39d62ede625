"""Whether a training learns, judged from its recorded scores: the parts that all trainers share.

Every verdict says what is seen, the likely cause, and what to do next. The rules are pure functions of the record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist, median

from scipy.special import bdtrik

from train.verdicts.amount import Amount
from train.verdicts.commands import Commands

CONFIDENCE = 0.99  # of a claim that scores are above chance
LAST = 3  # evaluations whose median is judged: weights in training swing, and one of them may be far off
PATIENCE = 5  # evaluations without a better score after which learning is called over
RISE = 1.05  # of the best score, from which on a held-out loss has risen and does not just swing
LEAST = 0.005  # share of the best score by which another must be better to count as better
FALL = 0.95  # of a loss, from which on it has fallen
GAP = 0.5  # of the held-out loss, below which the training loss says that clips are known by heart
LITTLE_SECONDS = 600.0  # preprocess.advice draws the same line
FEW_GROUPS = 10


class Kind(StrEnum):
    """What a verdict says; the names of its curves in TensorBoard."""

    LEARNING = "learning"
    TOO_EARLY = "too early to say"
    NOT_LEARNING = "not learning yet"
    OVER_FITTING = "over-fitting"
    STALLED = "no longer learning"
    LITTLE_DATA = "little data"
    FEW_SPEAKERS = "few speakers"
    WEAK_EXPERT = "weak expert"
    SYNC_STUCK = "sync loss not falling"


@dataclass(frozen=True)
class Verdict:
    """A judgement in plain words."""

    kind: Kind
    seen: str  # the figures
    cause: str = ""  # the likely one; nothing where all is well
    next: Sequence[tuple[str, str]] = ()  # what for, and the command to paste


@dataclass(frozen=True)
class Evaluation:
    """The record of a validation."""

    step: int
    train: dict[str, float]  # means over the steps since the one before
    val: dict[str, float]


@dataclass(frozen=True)
class Given:
    """What is known of a training before it starts."""

    amount: Amount
    commands: Commands
    batch_size: int  # samples of one optimizer step, in all processes together
    learning_rate: float


@dataclass(frozen=True)
class Record:
    """Evaluations in order of their steps, the last of which is judged."""

    evaluations: Sequence[Evaluation]
    marks: dict[str, float] = field(default_factory=dict)  # measured once, before the first judgement
    from_weights: bool = False  # training began with the weights of another one; then little data may be enough

    @property
    def last(self) -> Evaluation:
        """The evaluation that is judged."""
        return self.evaluations[-1]

    def val(self, term: str) -> list[float]:
        """A held-out score at each evaluation that has it."""
        return [evaluation.val[term] for evaluation in self.evaluations if term in evaluation.val]

    def now(self, term: str) -> float:
        """Median of a held-out score at the last three evaluations."""
        return median(self.val(term)[-LAST:])


def accuracy_by_chance(windows: int) -> float:
    """The accuracy that guessing does not pass in 99 of 100 validations, from the binomial distribution.

    windows: as many right as wrong ones. Guessing all alike has exactly 0.5; a coin for each has the widest spread.
    """
    return math.ceil(bdtrik(CONFIDENCE, windows, 0.5)) / windows


def auc_by_chance(windows: int) -> float:
    """The ROC-AUC that guessing does not pass in 99 of 100 validations (Mann and Whitney 1947, normal for large n).

    windows: n / 2 right and n / 2 wrong ones, for which the variance is (n + 1) / (3 n^2).
    """
    spread = ((windows + 1) / 3) ** 0.5 / windows
    return min(1.0, 0.5 + NormalDist().inv_cdf(CONFIDENCE) * spread)


@dataclass(frozen=True)
class Trend:
    """How a held-out loss went, against the same loss in training."""

    best: float
    best_step: int
    since: int  # evaluations since the best one
    now: float  # median of the last three
    train_then: float | None  # the same loss in training at the best evaluation
    train_now: float | None  # median of the last three

    @classmethod
    def of(cls, record: Record, term: str) -> Trend:
        """The trend of a loss, such as "loss" or "l1"."""
        held_out = record.val(term)
        best = 0
        for number, value in enumerate(held_out):
            if value < (1 - LEAST) * held_out[best]:
                best = number
        then = record.evaluations[best].train.get(term)
        trained = [each.train[term] for each in record.evaluations[-LAST:] if term in each.train]
        return cls(held_out[best], record.evaluations[best].step, len(held_out) - 1 - best, record.now(term), then,
                   median(trained) if trained else None)  # fmt: skip

    @property
    def over_fits(self) -> bool:
        """Whether more training makes it worse on held-out clips and better on those trained on.

        Either the median of three evaluations, all after the best, is 5 % above it while the training loss is lower
        than it was then; or nothing got better for five evaluations and the training loss is half the held-out one.
        One evaluation would not do: without averaging, an expert's held-out loss was seen to double between two
        evaluations and to come back.
        """
        if self.train_now is None or self.train_then is None:
            return False
        rose = self.since >= LAST and self.now > RISE * self.best and self.train_now < self.train_then
        return rose or (self.stalled and self.train_now < GAP * self.now)

    @property
    def stalled(self) -> bool:
        """Whether no held-out loss of the last five evaluations was better than the best by half a percent."""
        return self.since >= PATIENCE

    def in_words(self, name: str) -> str:
        """The figures in a sentence."""
        trained = "" if self.train_now is None else f", {name} in training {self.train_now:.4f}"
        then = "" if self.train_then is None or not self.since else f" (at the best {self.train_then:.4f})"
        return (f"held-out {name} is {self.now:.4f}, median of the last {LAST} evaluations at most; its best was "
                f"{self.best:.4f} at step {self.best_step}, {self.since} evaluations ago{trained}{then}")  # fmt: skip


def over_fitting(given: Given, seen: str, by_heart: bool = False) -> Verdict:
    """More training makes it worse on what it has not seen.

    by_heart: held-out scores never left chance, so what is learned may be nothing that sound and lips have in common.
    """
    commands, amount = given.commands, given.amount
    if by_heart:
        cause = ("it learns the training clips by heart and nothing that holds elsewhere: too little data, or sound "
                 "that does not belong to the lips")  # fmt: skip
        return Verdict(Kind.OVER_FITTING, seen, cause, [("do sound and lips belong together", commands.doctor())])
    cause = (f"the network has seen what there is to learn from {amount.in_words()}; more steps teach it these clips, "
             "not speech")  # fmt: skip
    return Verdict(Kind.OVER_FITTING, seen, cause, [
        ("stop and use best.pth, or add videos of other speakers; what the data set has", commands.doctor()),
        ("or go on more carefully", commands.again(f"learning_rate={given.learning_rate / 5:.1g}", on=True)),
    ])  # fmt: skip


def stalled(given: Given, seen: str) -> Verdict:
    """Nothing gets better, nothing gets worse."""
    commands = given.commands
    return Verdict(Kind.STALLED, seen, "the rate is too high for what is left to learn, or all of it is learned", [
        ("go on at a lower rate", commands.again(f"learning_rate={given.learning_rate / 5:.1g}", on=True)),
        ("or with a larger batch", commands.again(f"accumulate={4 * given.commands.accumulate}", on=True)),
    ])  # fmt: skip


def of_data(given: Given, record: Record) -> list[Verdict]:
    """What the amount of training data lets one expect; nothing for a training that began with others' weights.

    Ten minutes: 3,000 windows that share no frame, which networks of 16 and 36 million weights learn by heart; what
    was trained on less held, where it held, for the speakers that it was trained on. Ten groups: validation holds out
    one in twenty, so below its scores are those of one other speaker or of none, and looks that go with a way of
    speaking can be learned in place of speech. A group is a folder of clips: a speaker, or one recording.
    """
    if record.from_weights:
        return []
    amount, doctor, verdicts = given.amount, given.commands.doctor(), []
    if amount.seconds < LITTLE_SECONDS:
        verdicts.append(Verdict(
            Kind.LITTLE_DATA,
            f"{amount.in_words()} to train on, less than {LITTLE_SECONDS / 60:.0f} minutes",
            "enough to try the chain or to fine-tune a checkpoint, too little to train from nothing",
            [("add videos, or start from a released checkpoint with reset_optimizer=true; what there is", doctor)],
        ))  # fmt: skip
    if amount.groups < FEW_GROUPS:
        verdicts.append(Verdict(
            Kind.FEW_SPEAKERS,
            f"{amount.groups} folder{'s' * (amount.groups != 1)} of clips to train on, fewer than {FEW_GROUPS}",
            "one folder is one speaker or recording: what is learned holds for these, and scores say little of others",
            [("add videos of other speakers, or take this for a model of these; what there is", doctor)],
        ))  # fmt: skip
    return verdicts
