"""Interface between the training loop and its callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from train.checkpoint.state import State, TrainState
from train.validation.runner import ValidationResult


@dataclass(frozen=True)
class Stop:
    """A request to end the run before the next step."""

    reason: str
    exit_code: int = 0
    save: bool = True  # save a checkpoint of the last step


class AbortRun(Exception):
    """End the run now, without saving, with exit code 1; the callback has logged the reason."""


class Callback:
    """Hooks of the loop, in the order of a step; each does nothing unless overridden.

    All processes call them at the same steps. A callback with state implements `state_dict`.
    """

    def on_start(self, state: TrainState) -> None:
        """Open what the run needs."""

    def stop(self, state: TrainState) -> Stop | None:
        """Return a request to end the run; called before each step, the first time before on_start."""

    def on_step_start(self, state: TrainState) -> None:
        """Act before a step; state.step counts the steps taken."""

    def on_step(self, state: TrainState) -> None:
        """Act after the optimizer step."""

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Act on the means of losses since the last call, each log interval."""

    def on_validation(self, state: TrainState, result: ValidationResult) -> None:
        """Act on the scores of a validation; the models have their averaged weights."""

    def on_save(self, state: TrainState) -> None:
        """Act before a checkpoint is written."""

    def on_end(self) -> None:
        """Close what on_start opened, also after an error."""

    def state_dict(self) -> State:
        """Return the state of the callback for a checkpoint."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned; an empty state if the checkpoint has none."""
