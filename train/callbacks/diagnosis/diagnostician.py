"""Callback that records losses and scores, and at validations logs a diagnosis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Protocol

from train.callbacks.base import Callback
from train.callbacks.diagnosis.context import RunContext
from train.callbacks.diagnosis.rules import RECENT_EVALUATIONS, Diagnosis, Evaluation, History, Kind
from train.callbacks.tensorboard import TensorBoard
from train.checkpoint.plain_state import parse_state
from train.checkpoint.state import State, TrainState
from train.validation.runner import ValidationResult

log = logging.getLogger(__name__)

DATA_KINDS = (Kind.LITTLE_DATA, Kind.FEW_SPEAKERS)  # constant over a run: repeated only where they explain a problem
PROBLEM_KINDS = (Kind.NOT_LEARNING, Kind.OVERFITTING)


class Rules(Protocol):
    """Rules of a trainer; see syncnet_rules and generator_rules."""

    @property
    def metrics(self) -> Sequence[str]: ...
    def measure_baselines(self, batches: Callable[[], Iterable[Any]]) -> dict[str, float]: ...
    def diagnose(self, history: History) -> list[Diagnosis]: ...


BuildRules = Callable[[RunContext], Rules]


@dataclass
class Memory:
    """Recorded history of the run."""

    losses: dict[str, list[float]] = field(default_factory=dict)  # since the last evaluation
    evaluations: list[Evaluation] = field(default_factory=list)
    baselines: dict[str, float] = field(default_factory=dict)
    last_kinds: list[str] = field(default_factory=list)  # kinds of the last diagnosis
    from_weights: bool = False  # the run started from weights of another


class Diagnostician(Callback):
    """Diagnoses the run at step `after`, from three evaluations until then, and at every later validation.

    A run that ends before is diagnosed at its last validation, if that is the third or a later one.
    Its memory is in the checkpoint, so a resumed run has the same diagnoses as one that never stopped.
    """

    def __init__(
        self,
        rules: Rules,
        after: int,
        batches: Callable[[int], Iterable[Any]],
        tensorboard: TensorBoard,
        last_step: int | None = None,
    ):
        """
        after: step; 0: never diagnose. batches: yields those of the validation after a step.
        last_step: of the last validation of a run that ends before `after`; None: it does not.
        """
        self.rules, self.after, self.batches, self.tensorboard = rules, after, batches, tensorboard
        self.last_step, self.memory = last_step, Memory()

    @property
    def evaluation_steps(self) -> set[int]:
        """Steps at which a validation is needed for a trend at the first diagnosis."""
        if not self.after or self.last_step is not None:
            return set()
        return {self.after // 2, self.after * 3 // 4, self.after}

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Record training losses."""
        for name in self.rules.metrics:
            if name in means:
                self.memory.losses.setdefault(name, []).append(means[name])

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Record the scores, and log the diagnosis if it is time for one."""
        if diagnoses := self.evaluate(result.step, result.scores):
            text, kinds = self.report(diagnoses, result.step), {diagnosis.kind for diagnosis in diagnoses}
            self.tensorboard.add_text("diagnosis", text, result.step)
            self.tensorboard.add_scalars("diagnosis", {kind: float(kind in kinds) for kind in Kind}, result.step)

    def evaluate(self, step: int, scores: Mapping[str, float]) -> list[Diagnosis]:
        """Add an evaluation to the history; return the diagnoses, if it is time for one. Collective."""
        memory, names = self.memory, self.rules.metrics
        train = {name: fmean(values) for name, values in memory.losses.items()}
        memory.evaluations.append(Evaluation(step, train, {name: scores[name] for name in names if name in scores}))
        memory.losses.clear()
        if not self._is_due(step):
            return []
        if not memory.baselines:
            memory.baselines = self.rules.measure_baselines(lambda: self.batches(step))
        return self.rules.diagnose(History(memory.evaluations, memory.baselines, memory.from_weights))

    def _is_due(self, step: int) -> bool:
        if not self.after:
            return False
        return step >= self.after or (step == self.last_step and len(self.memory.evaluations) >= RECENT_EVALUATIONS)

    def report(self, diagnoses: Sequence[Diagnosis], step: int) -> str:
        """Log diagnoses, shortened where the last report had the same kind; return the full text."""
        last_kinds, kinds = self.memory.last_kinds, [diagnosis.kind for diagnosis in diagnoses]
        skips_data = bool(last_kinds) and not set(kinds) & set(PROBLEM_KINDS)
        for diagnosis in diagnoses:
            if not (skips_data and diagnosis.kind in DATA_KINDS):
                log.info("%s", diagnosis.format(step, short=diagnosis.kind in last_kinds))
        self.memory.last_kinds = [str(kind) for kind in kinds]
        return "\n\n".join(diagnosis.format(step) for diagnosis in diagnoses)

    def state_dict(self) -> State:
        """Return the recorded history as plain values."""
        return asdict(self.memory)

    def load_state_dict(self, state: State) -> None:
        """Restore the history; without one the run starts from the weights of another."""
        self.memory = parse_state(Memory, state) if state else Memory(from_weights=True)
