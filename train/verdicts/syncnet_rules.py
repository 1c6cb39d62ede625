"""Whether the expert learns to tell right sound from wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from train.verdicts.rules import (
    LAST,
    Given,
    Kind,
    Record,
    Trend,
    Verdict,
    accuracy_by_chance,
    auc_by_chance,
    of_data,
    over_fitting,
    stalled,
)

LOSS_OF_A_GUESS = math.log(2)  # 0.6931: of the constant 0.5, the best there is for as many right pairs as wrong ones
BY_HEART = 0.9 * LOSS_OF_A_GUESS  # a training loss below has left the constant for good: it moves by 1 % where it is
LARGE_BATCH = 64  # the release's; a smaller one is worth a try at a larger


class SyncNetRules:
    """Judges an expert by its held-out loss, balanced accuracy and ROC-AUC."""

    watched = ("loss", "accuracy", "auc")

    def __init__(self, given: Given):
        self.given = given

    def measure(self, batches: Callable[[], Iterable[Any]]) -> dict[str, float]:
        """Nothing has to be known of the data beforehand: chance is known."""
        return {}

    def verdicts(self, record: Record) -> list[Verdict]:
        """The main verdict, then what the data lets one expect.

        At chance: neither accuracy nor AUC, medians of the last three evaluations, is above what guessing stays below
        in 99 of 100 validations. Both are asked: an expert whose cosines all lie on one side of 0.5 has the accuracy
        of a guess although it ranks pairs, which the AUC sees. Windows that overlap say the same thing twice, so what
        counts is how many there can be that do not.
        """
        trend = Trend.of(record, "loss")
        return [self._main(record, trend), *of_data(self.given, record)]

    def _main(self, record: Record, trend: Trend) -> Verdict:
        windows = self.given.amount.independent
        accuracy, auc = record.now("accuracy"), record.now("auc")
        scores = (f"held-out accuracy {accuracy:.3f} and AUC {auc:.3f}; guessing has 0.5, and up to "
                  f"{accuracy_by_chance(windows):.3f} and {auc_by_chance(windows):.3f} by luck on {windows} windows "
                  f"that share no frame")  # fmt: skip
        losses = f"held-out loss {trend.now:.3f}"
        losses += "" if trend.train_now is None else f", loss in training {trend.train_now:.3f}"
        losses += f"; a constant guess has {LOSS_OF_A_GUESS:.3f}"
        if accuracy > accuracy_by_chance(windows) or auc > auc_by_chance(windows):
            if trend.over_fits:
                return over_fitting(self.given, f"{trend.in_words('loss')}; {scores}")
            if trend.stalled:
                return stalled(self.given, f"{trend.in_words('loss')}; {scores}")
            return Verdict(Kind.LEARNING, f"{scores}; {losses}")
        if trend.train_now is not None and trend.train_now < BY_HEART and len(record.evaluations) >= LAST:
            return over_fitting(self.given, f"{losses}; {scores}", by_heart=True)
        return self._not_learning(f"{scores}; {losses}", of_data(self.given, record))

    def _not_learning(self, seen: str, data: list[Verdict]) -> Verdict:
        commands = self.given.commands
        cause = "sound that does not belong to the lips in much of the data, or too few steps so far"
        if data:
            cause = f"{data[0].kind} ({self.given.amount.in_words()}), or sound that does not belong to the lips"
        following = [
            ("do sound and lips belong together", commands.doctor()),
            ("correct constant offsets and set aside what agrees nowhere", commands.sync()),
            ("does the training itself work", commands.overfit()),
        ]
        if self.given.batch_size < LARGE_BATCH:
            times = math.ceil(LARGE_BATCH / self.given.batch_size)
            larger = commands.again(f"accumulate={times * commands.accumulate}", on=True)
            following.append(("if all that is well, a larger batch", larger))
        return Verdict(Kind.NOT_LEARNING, seen, cause, following)
