"""Rules for the lip-sync expert."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from train.callbacks.diagnosis import rules
from train.callbacks.diagnosis.context import RunContext
from train.callbacks.diagnosis.rules import Diagnosis, History, Kind, Trend

CHANCE_LOSS = math.log(2)  # the constant 0.5 is the best guess for as many matching as mismatched pairs
MEMORIZING_LOSS = 0.9 * CHANCE_LOSS  # a training loss below it is no constant guess, whose loss varies by 1 %
UPSTREAM_BATCH_SIZE = 64  # with a smaller one, a larger batch is worth a try


class SyncNetRules:
    """Diagnoses an expert from its validation loss, balanced accuracy and ROC-AUC."""

    metrics = ("loss", "accuracy", "auc")

    def __init__(self, context: RunContext):
        self.context = context

    def measure_baselines(self, batches: Callable[[], Iterable[Any]]) -> dict[str, float]:
        """Return nothing, because chance is known."""
        return {}

    def diagnose(self, history: History) -> list[Diagnosis]:
        """Return the main diagnosis, then findings about the data."""
        data = rules.diagnose_data(self.context, history)
        return [self._diagnose_learning(history, data), *data]

    def _diagnose_learning(self, history: History, data: list[Diagnosis]) -> Diagnosis:
        """Compare accuracy and AUC with chance on the disjoint windows, because overlapping ones are not independent.

        Either is enough: with all cosines on one side of 0.5 only the AUC shows that the expert ranks pairs.
        """
        trend, windows = Trend(history, "loss"), self.context.data.independent_windows
        accuracy, auc = history.recent("accuracy"), history.recent("auc")
        max_accuracy, max_auc = rules.max_chance_accuracy(windows), rules.max_chance_auc(windows)
        scores = (f"validation accuracy {accuracy:.3f} and AUC {auc:.3f}; chance is 0.5, up to {max_accuracy:.3f} and "
                  f"{max_auc:.3f} on {windows} disjoint windows")  # fmt: skip
        train = "" if trend.train_now is None else f", training loss {trend.train_now:.3f}"
        losses = f"validation loss {trend.now:.3f}{train}; a constant guess has {CHANCE_LOSS:.3f}"
        if accuracy > max_accuracy or auc > max_auc:
            learning = Diagnosis(Kind.LEARNING, f"{scores}; {losses}")
            return rules.diagnose_trend(self.context, trend, "loss", scores) or learning
        commands = self.context.commands
        check_data = ("check that audio matches the lips", commands.doctor())
        memorizes = trend.train_now is not None and trend.train_now < MEMORIZING_LOSS
        if memorizes and len(history.evaluations) >= rules.RECENT_EVALUATIONS:
            cause = "it memorizes the training clips: too little data, or audio that does not match the lips"
            return Diagnosis(Kind.OVERFITTING, f"{losses}; {scores}", cause, [check_data])
        reason = f"{data[0].kind} ({self.context.data})" if data else "too few steps so far"
        remedies = [check_data, ("correct audio offsets and drop clips out of sync", commands.sync()),
                    ("check that the trainer works", commands.overfit_test())]  # fmt: skip
        if self.context.batch_size < UPSTREAM_BATCH_SIZE:
            steps = math.ceil(UPSTREAM_BATCH_SIZE / self.context.batch_size) * commands.grad_accum_steps
            remedies.append(("then try a larger batch", commands.rerun(f"grad_accum_steps={steps}", resume=True)))
        cause = f"audio that does not match the lips in much of the data, or {reason}"
        return Diagnosis(Kind.NOT_LEARNING, f"{scores}; {losses}", cause, remedies)
