"""How much each term of the generator's loss counts, as training goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

Points = Sequence[Sequence[float]]  # [[step, weight], ...]


@dataclass(frozen=True)
class Line:
    """A weight that goes in straight lines from point to point, and stays before the first and after the last."""

    points: tuple[tuple[int, float], ...]  # optimizer steps, rising, and weights from 0 up

    @classmethod
    def of(cls, name: str, value: float | Points) -> Line:
        """From what a config says: a number, or a list of [step, weight].

        name: the config's key, for the sentence of an InputError.
        """
        points = [(0, value)] if isinstance(value, (int, float)) else [tuple(point) for point in value]
        steps = [step for step, _ in points]
        if not points or any(step != int(step) or step < 0 for step in steps):
            raise InputError(
                f"{name}={value}: steps are whole numbers from 0 up; give for instance [[0,0],[5000,0.03]]"
            )
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise InputError(f"{name}={value}: the steps do not rise; put the points in the order of their steps")
        if not all(0 <= weight <= 1 for _, weight in points):
            raise InputError(f"{name}={value}: a weight is a share of the loss; give numbers from 0 to 1")
        return cls(tuple((int(step), float(weight)) for step, weight in points))

    def at(self, step: int) -> float:
        """The weight at a step."""
        before = [point for point in self.points if point[0] <= step]
        after = self.points[len(before) :]
        if not before or not after:
            return (before or self.points)[-1 if before else 0][1]
        (begin, low), (end, high) = before[-1], after[0]
        return low + (high - low) * (step - begin) / (end - begin)

    @property
    def largest(self) -> float:
        """The weight where it is highest."""
        return max(weight for _, weight in self.points)


class LossWeights:
    """What each term counts at the step that is being taken; what is left of 1 counts for the L1 term.

    The sync weight follows `sync` until a validation shows that the lips have begun to follow, its sync loss being
    below a threshold: before that the expert's advice only disturbs. From there on it is the larger of `sync` and
    `sync_on`, at once or along a ramp. With two numbers and no ramp that is what the public release does.
    """

    def __init__(
        self, *, sync: Line, sync_on: Line, sync_threshold: float, sync_ramp: int = 0,
        critic: Line | None = None, features: Line | None = None,
    ):  # fmt: skip
        """sync_ramp: steps over which the sync weight rises once it is switched on.

        critic, features: weights of the critic's verdict and of the perceptual term; None: there is no such term.
        Raises: InputError if the weights can come to more than 1, which would leave L1 less than nothing.
        """
        none = Line(((0, 0.0),))
        self._lines = {"sync": sync, "sync_on": sync_on, "critic": critic or none, "features": features or none}
        self._threshold, self._ramp = sync_threshold, sync_ramp
        self._step = 0
        self._on_since: int | None = None  # step before which the sync loss was switched on
        highest = max(sync.largest, sync_on.largest) + self._lines["critic"].largest + self._lines["features"].largest
        if highest > 1:
            raise InputError(
                f"syncnet_wt, syncnet_wt_on, disc_wt and perceptual_wt can come to {highest:g}, which leaves the L1 "
                "loss less than nothing; give weights that come to 1 at most"
            )

    def begin(self, step: int) -> None:
        """Take the weights of a step, counted from 0."""
        self._step = step

    @property
    def sync(self) -> float:
        """Of the expert's sync loss."""
        off = self._lines["sync"].at(self._step)
        if self._on_since is None:
            return off
        on = max(off, self._lines["sync_on"].at(self._step))
        taken = self._step - self._on_since + 1
        return on if taken >= self._ramp else off + (on - off) * taken / self._ramp

    @property
    def critic(self) -> float:
        """Of the critic's verdict on the generated frames."""
        return self._lines["critic"].at(self._step)

    @property
    def features(self) -> float:
        """Of the distance in the features of a network that knows pictures."""
        return self._lines["features"].at(self._step)

    @property
    def l1(self) -> float:
        """Of the L1 loss: what the others leave."""
        return 1 - self.sync - self.critic - self.features

    def after_validation(self, sync: float) -> None:
        """Switch the sync loss on if the held-out one is below the threshold."""
        if self._on_since is None and sync < self._threshold:
            self._on_since = self._step + 1  # validated after this step

    def state(self) -> dict[str, Any]:
        """What a resume needs, and beside it what was in force, for a reader of the file."""
        return {
            "sync_on": self._on_since is not None,
            "sync_on_since": self._on_since,
            "weights": {"sync": self.sync, "critic": self.critic, "features": self.features, "l1": self.l1},
            "weight_schedules": {name: [list(point) for point in line.points] for name, line in self._lines.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave. The schedules are the config's; where the file had others, a line says so."""
        if "sync_on" in state:  # files from before ramps do not say since when: long enough
            self._on_since = (state.get("sync_on_since") or 0) if state["sync_on"] else None
        for name, points in state.get("weight_schedules", {}).items():
            ours = [list(point) for point in self._lines[name].points]
            if points != ours:
                log.info("weight of %s: the checkpoint had the points %s; from here on %s count", name, points, ours)
