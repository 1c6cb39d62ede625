"""Whether the generator learns to paint faces, and lips that follow the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lightning_fabric import Fabric
from torch import nn

from train.data.samples import GeneratorInputs
from train.verdicts.generator_marks import measure_marks
from train.verdicts.rules import (
    FALL,
    LAST,
    PATIENCE,
    RISE,
    Given,
    Kind,
    Record,
    Trend,
    Verdict,
    auc_by_chance,
    of_data,
    over_fitting,
    stalled,
)

WEAK_AUC = 0.75  # an expert below ranks a quarter of the pairs wrong: its gradient is noise for every fourth window


class GeneratorRules:
    """Judges a generator by its held-out L1 and sync loss, against marks measured once on the same windows."""

    watched = ("l1", "sync", "sync_of_truth", "sync_of_input")

    def __init__(
        self, given: Given, *, fabric: Fabric, expert: nn.Module, expert_path: str, sync_threshold: float,
        sync_weight: float,
    ):  # fmt: skip
        """expert: the frozen one.
        sync_threshold: held-out sync loss below which its advice is switched on; sync_weight: what it then counts.
        """
        self.given, self.fabric, self.expert = given, fabric, expert
        self.expert_path, self.sync_threshold = expert_path, sync_threshold
        self.sync_weight = sync_weight

    def measure(self, batches: Callable[[], Iterable[GeneratorInputs]]) -> dict[str, float]:
        """What the expert is worth on these windows, and what L1 there is to beat; see measure_marks."""
        return measure_marks(self.fabric, self.expert, batches)

    def verdicts(self, record: Record) -> list[Verdict]:
        """The main verdict, on L1; then sync and the expert; then what the data lets one expect."""
        return [self._reconstruction(record), *self._sync(record), *of_data(self.given, record)]

    def _reconstruction(self, record: Record) -> Verdict:
        """Not learning: no better than painting the mean mouth into every frame, and not on the way there.

        A head that holds still makes the mean mouth hard to beat, so being worse than that is no verdict while L1
        falls by 5 % over the last five evaluations. One or two evaluations have no trend.
        """
        trend, held_out = Trend.of(record, "l1"), record.val("l1")
        marks = (f"the mean mouth painted into every frame has {record.marks['l1_of_mean']:.4f}, a copy of the "
                 f"reference's {record.marks['l1_of_copy']:.4f}")  # fmt: skip
        seen = f"held-out L1 {trend.now:.4f} (at step {record.evaluations[0].step}: {held_out[0]:.4f}); {marks}"
        if trend.now >= record.marks["l1_of_mean"]:
            if len(held_out) < LAST:
                return Verdict(Kind.TOO_EARLY, seen)
            if held_out[-1] > FALL * held_out[max(0, len(held_out) - 1 - PATIENCE)]:
                return self._not_learning(seen)
        if trend.over_fits:
            return over_fitting(self.given, f"{trend.in_words('L1')}; {marks}")
        if trend.stalled:
            return stalled(self.given, f"{trend.in_words('L1')}; {marks}")
        return Verdict(Kind.LEARNING, seen)

    def _not_learning(self, seen: str) -> Verdict:
        given, commands = self.given, self.given.commands
        return Verdict(Kind.NOT_LEARNING, seen, "a rate that is too high or far too low, or weights of sync and critic "
                       "that leave nothing to the reconstruction", [
            ("does the training itself work", commands.overfit()),
            ("a lower rate", commands.again(f"learning_rate={given.learning_rate / 5:.1g}")),
        ])  # fmt: skip

    def _sync(self, record: Record) -> list[Verdict]:
        marks, last = record.marks, record.last.val
        weak = marks["expert_auc"] <= max(WEAK_AUC, auc_by_chance(self.given.amount.independent))
        losses = (f"sync loss of generated frames {record.now('sync'):.3f}, of the true ones "
                  f"{last['sync_of_truth']:.3f}, of others with that sound {last['sync_of_input']:.3f}")  # fmt: skip
        found = [self._weak_expert(losses, marks, last["sync_of_truth"])] if weak else []
        return found + ([self._stuck(losses, marks if weak else None)] if self._does_not_fall(record, weak) else [])

    def _does_not_fall(self, record: Record, weak: bool) -> bool:
        """Whether the sync loss counts since three evaluations, has not fallen by 5 % and is not where the truth's is.

        That it counts is seen by its term in the training losses. To a weak expert true frames look like any others, so
        being as good as these excuses nothing.
        """
        counted = [each for each in record.evaluations if "sync" in each.train]
        if len(counted) <= LAST:
            return False
        first, now = counted[0].val["sync"], record.now("sync")
        return now > FALL * first and (weak or now > RISE * record.last.val["sync_of_truth"])

    def _weak_expert(self, losses: str, marks: dict[str, float], truth: float) -> Verdict:
        commands, windows = self.given.commands, self.given.amount.independent
        chance = marks["expert_auc"] <= auc_by_chance(windows)
        seen = (f"on the true frames held out the expert has accuracy {marks['expert_accuracy']:.3f} and AUC "
                f"{marks['expert_auc']:.3f} (guessing: 0.5, by luck up to {auc_by_chance(windows):.3f}; wanted: more "
                f"than {WEAK_AUC}); {losses}")  # fmt: skip
        if truth >= self.sync_threshold:
            seen += (f". Its loss is switched on below {self.sync_threshold}, which not even the true frames reach, so "
                     "it may never count")  # fmt: skip
        cause = "the expert does not know these speakers, or sound and lips of this data do not belong together"
        return Verdict(Kind.WEAK_EXPERT, seen, cause, [
            ("do sound and lips belong together", commands.sync()),
            ("train the expert on this data", commands.expert(None if chance else self.expert_path)),
        ])  # fmt: skip

    def _stuck(self, losses: str, weak: dict[str, float] | None) -> Verdict:
        commands = self.given.commands
        if weak is not None:
            chance = weak["expert_auc"] <= auc_by_chance(self.given.amount.independent)
            command = commands.expert(None if chance else self.expert_path)
            return Verdict(Kind.SYNC_STUCK, losses, "the expert is weak on this data: it has nothing to teach",
                           [("train the expert on this data", command)])  # fmt: skip
        return Verdict(Kind.SYNC_STUCK, losses, "the sync loss weighs too little beside the others, or it was asked "
                       "for before faces were painted well", [
            ("a larger weight", commands.again(f"syncnet_wt_on={min(3 * self.sync_weight, 0.5):.2g}", on=True)),
        ])  # fmt: skip
