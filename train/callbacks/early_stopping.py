"""Track the best validation, and stop when the monitored metric no longer improves or has passed its threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from train.callbacks.base import Callback, Stop
from train.checkpoint.plain_state import parse_state
from train.checkpoint.state import State, TrainState
from train.validation.runner import ValidationResult
from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.base import HIGHER, LOWER, badness


@dataclass
class Best:
    """The best value of a metric so far."""

    metric: str
    value: float | None = None  # None: every value was NaN
    step: int = 0
    stale_validations: int = 0  # validations since


class EarlyStopping(Callback):
    """Marks the best validation for best.pth and stops the run; all processes have the same scores."""

    def __init__(
        self, metric: str, directions: Mapping[str, str], patience: int | None = None, threshold: float | None = None
    ):
        """directions: LOWER, HIGHER, ZERO or ONE for each score that can be monitored.
        patience: validations in a row without a better value after which to stop.
        threshold: value below which to stop, for a metric with direction LOWER.
        """
        if metric not in directions:
            raise InputError(f"monitor_metric={metric}: must be one of {', '.join(directions)}")
        if threshold is not None and directions[metric] != LOWER:
            better = "higher" if directions[metric] == HIGHER else f"closer to {directions[metric][-1]}"
            raise InputError(f"early_stopping.threshold={threshold}: {metric} is better the {better}; set "
                             "early_stopping.patience, or monitor another metric")  # fmt: skip
        self.direction, self.patience, self.threshold = directions[metric], patience, threshold
        self.best = Best(metric)

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Update the best value; validations of the diagnosis do not count."""
        if result.is_regular:
            state.best_pending = self.update(result.scores, result.step)

    def update(self, scores: Mapping[str, float], step: int) -> bool:
        """Compare with the best value; return whether this one is better."""
        best = self.best
        if best.metric not in scores:
            raise InputError(f"monitor_metric={best.metric}: not measured here; choose one of {', '.join(scores)}")
        value = scores[best.metric]
        is_better = best.value is None or badness(self.direction, value) < badness(self.direction, best.value)
        if math.isnan(value) or not is_better:
            best.stale_validations += 1
            return False
        self.best = Best(best.metric, value, step)
        return True

    def stop(self, state: TrainState) -> Stop | None:
        """Return a stop request once the threshold is passed or patience has run out."""
        best = self.best
        if best.value is not None and self.threshold is not None and best.value < self.threshold:
            return Stop(f"early stopping: {best.metric} {best.value:.4f} at step {best.step} is below "
                        f"early_stopping.threshold={self.threshold}")  # fmt: skip
        if self.patience is None or best.stale_validations < self.patience:
            return None
        history = "it was always NaN" if best.value is None else f"best {best.value:.4f} at step {best.step}"
        return Stop(f"early stopping: {best.metric} has not improved for {best.stale_validations} validations "
                    f"({history}; early_stopping.patience={self.patience})")  # fmt: skip

    def state_dict(self) -> State:
        """Return the best value."""
        return asdict(self.best)

    def load_state_dict(self, state: State) -> None:
        """Restore the best value, unless the checkpoint monitored another metric."""
        if state.get("metric") == self.best.metric:
            self.best = parse_state(Best, state)
