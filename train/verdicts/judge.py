"""Keeps the record of a training and says, at its evaluations, whether it learns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from train.verdicts.rules import Evaluation, Kind, Record, Verdict

log = logging.getLogger(__name__)

ABOUT_DATA = (Kind.LITTLE_DATA, Kind.FEW_SPEAKERS)  # true from beginning to end, so said where it explains something
TROUBLE = (Kind.NOT_LEARNING, Kind.OVER_FITTING)


class Rules(Protocol):
    """How a trainer is judged; see train.verdicts.syncnet_rules and train.verdicts.generator_rules."""

    @property
    def watched(self) -> Sequence[str]: ...
    def measure(self, batches: Callable[[], Iterable[Any]]) -> dict[str, float]: ...
    def verdicts(self, record: Record) -> list[Verdict]: ...


class Judge:
    """Judges at step `after`, from three evaluations until then, and at every validation after it.

    What it has heard goes into the checkpoint, so a training that goes on is judged as if it had never stopped.
    """

    def __init__(self, rules: Rules, after: int):
        """after: steps; below 1 it never judges."""
        self.rules, self.after = rules, after
        self._evaluations: list[Evaluation] = []
        self._heard: dict[str, list[float]] = {}
        self._marks: dict[str, float] = {}
        self._said: list[str] = []  # kinds of the last judgement
        self._from_weights = False

    def due(self, step: int) -> bool:
        """Whether the judge wants an evaluation of its own at a step, for a trend at the first judgement."""
        return self.after > 0 and step in (self.after // 2, self.after * 3 // 4, self.after)

    def hear(self, terms: dict[str, float]) -> None:
        """Take in the training losses of a stretch of steps."""
        for name in self.rules.watched:
            if name in terms:
                self._heard.setdefault(name, []).append(terms[name])

    def evaluated(self, step: int, scores: dict[str, float], batches: Callable[[], Iterable[Any]]) -> list[Verdict]:
        """Take in the scores of an evaluation; returns the verdicts, none before it is time.

        batches: the windows of the evaluation, for what is measured on them once.
        """
        train = {name: sum(values) / len(values) for name, values in self._heard.items()}
        val = {name: scores[name] for name in self.rules.watched if name in scores}
        self._evaluations.append(Evaluation(step, train, val))
        self._heard.clear()
        if self.after < 1 or step < self.after:
            return []
        if not self._marks:
            self._marks = self.rules.measure(batches)
        return self.rules.verdicts(Record(self._evaluations, self._marks, self._from_weights))

    def say(self, verdicts: Sequence[Verdict], step: int) -> str:
        """Print verdicts: in full where they are news, in a line where they were said last time.

        Returns: all of them in full, for TensorBoard.
        """
        news = verdicts
        if self._said and not any(verdict.kind in TROUBLE for verdict in verdicts):
            news = [verdict for verdict in verdicts if verdict.kind not in ABOUT_DATA]
        for verdict in news:
            log.info("%s", in_words(verdict, step, short=verdict.kind in self._said))
        self._said = [str(verdict.kind) for verdict in verdicts]
        return "\n\n".join(in_words(verdict, step) for verdict in verdicts)

    def state(self) -> dict[str, Any]:
        """All that it has heard, as plain values."""
        return {
            "evaluations": [[each.step, each.train, each.val] for each in self._evaluations],
            "heard": self._heard,
            "marks": self._marks,
            "said": self._said,
            "from_weights": self._from_weights,
        }

    def load_state(self, state: dict[str, Any] | None) -> None:
        """Take back what `state` gave; None where training begins with the weights of another one."""
        if state is None:
            self._from_weights = True
            return
        self._evaluations = [Evaluation(*each) for each in state["evaluations"]]
        self._heard = {name: list(values) for name, values in state["heard"].items()}
        self._marks, self._said = dict(state["marks"]), list(state["said"])
        self._from_weights = state["from_weights"]


def in_words(verdict: Verdict, step: int, short: bool = False) -> str:
    """A verdict as a person reads it: what is seen, the likely cause, what to do next."""
    lines = [f"step {step} | {verdict.kind}: {verdict.seen}"]
    if verdict.cause and not short:
        lines.append(f"  likely cause: {verdict.cause}")
        lines += [f"  next, {what}:\n    {command}" for what, command in verdict.next]
    return "\n".join(lines)
