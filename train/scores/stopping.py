"""Which validation was the best one, and when there is nothing more to wait for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wav2lip.errors import InputError
from wav2lip.evaluation.metrics.metric import HIGHER, LOWER, badness


@dataclass
class Best:
    """The best value of a score so far."""

    score: str
    value: float | None = None  # None: there was none that is a number
    step: int = 0  # after which it was reached
    since: int = 0  # validations after it


class Watch:
    """Follows one score of the validations; several processes come to the same conclusions, as their scores agree."""

    def __init__(
        self, score: str, directions: Mapping[str, str], patience: int | None = None, below: float | None = None
    ):
        """score: the one to follow. directions: of every score that can be followed which values are better, LOWER,
        HIGHER, ZERO or ONE, as wav2lip.evaluation has it.
        patience: stop after so many validations in a row without a better value.
        below: stop at a value below this.
        Raises: InputError for a score that is not known, and a mark that it cannot reach from above.
        """
        if score not in directions:
            raise InputError(f"watch={score}: is no score of this trainer; choose one of {', '.join(directions)}")
        if below is not None and directions[score] != LOWER:
            how = "the higher it is" if directions[score] == HIGHER else f"the nearer it is to {directions[score][-1]}"
            raise InputError(
                f"stop.below={below}: {score} is the better {how}; set stop.patience, or watch another score"
            )
        if patience is not None and patience < 1:
            raise InputError(f"stop.patience={patience}: give a number of validations from 1 up, or null")
        self.better = directions[score]
        self.patience, self.below = patience, below
        self.best = Best(score)

    def take(self, scores: Mapping[str, float], step: int) -> bool:
        """Take in the scores of the validation after a step; whether they are the best so far.

        Raises: InputError if the one to follow is not among them.
        """
        if self.best.score not in scores:
            raise InputError(f"watch={self.best.score}: this validation has none; choose one of {', '.join(scores)}")
        value = scores[self.best.score]
        if math.isnan(value) or not self._improves(value):
            self.best.since += 1
            return False
        self.best = Best(self.best.score, value, step)
        return True

    def _improves(self, value: float) -> bool:
        best = self.best.value
        return best is None or badness(self.better, value) < badness(self.better, best)

    def reason_to_stop(self) -> str | None:
        """A sentence if training is to end, else None."""
        best = self.best
        if best.value is not None and self.below is not None and best.value < self.below:
            return f"{best.score} came to {best.value:.4f}, below stop.below={self.below}, at step {best.step}"
        if self.patience is None or best.since < self.patience:
            return None
        reached = "never a number" if best.value is None else f"best at step {best.step} with {best.value:.4f}"
        return f"{best.score} is no better than {best.since} validations ago: {reached}; stop.patience={self.patience}"

    def state(self) -> dict[str, Any]:
        """What a resume needs."""
        return asdict(self.best)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was given, unless that was of another score."""
        if state.get("score") == self.best.score:
            self.best = Best(**state)
