"""Weights of the generator's loss terms over the course of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from train.checkpoint.plain_state import parse_state
from wav2lip.errors import InputError

log = logging.getLogger(__name__)

Points = Sequence[Sequence[float]]  # [[step, weight], ...]


@dataclass(frozen=True)
class PiecewiseLinear:
    """A weight interpolated linearly between points, constant before the first and after the last."""

    points: tuple[tuple[int, float], ...]  # optimizer steps, ascending, and weights in [0, 1]

    @classmethod
    def from_config(cls, key: str, value: float | Points) -> PiecewiseLinear:
        """Read the value of a config key: a number or a list of [step, weight]. Raises: InputError."""
        points = [(0, value)] if isinstance(value, (int, float)) else [tuple(point) for point in value]
        steps = [step for step, _ in points]
        if not points or any(step != int(step) or step < 0 for step in steps):
            raise InputError(f"{key}={value}: steps must be integers >= 0; for example [[0,0],[5000,0.03]]")
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise InputError(f"{key}={value}: steps must be ascending; sort the points")
        if not all(0 <= weight <= 1 for _, weight in points):
            raise InputError(f"{key}={value}: weights must be between 0 and 1; each is a share of the loss")
        return cls(tuple((int(step), float(weight)) for step, weight in points))

    def at(self, step: int) -> float:
        """Return the weight at a step."""
        before = [point for point in self.points if point[0] <= step]
        after = self.points[len(before) :]
        if not before or not after:
            return (before or self.points)[-1 if before else 0][1]
        (begin, low), (end, high) = before[-1], after[0]
        return low + (high - low) * (step - begin) / (end - begin)

    @property
    def maximum(self) -> float:
        """The largest weight."""
        return max(weight for _, weight in self.points)


ZERO = PiecewiseLinear(((0, 0.0),))


@dataclass
class SwitchState:
    """Switch of the sync loss in a checkpoint."""

    sync_on: bool = False
    sync_on_since: int | None = None
    weight_schedules: dict[str, list[list[float]]] = field(default_factory=dict)


class LossWeights:
    """Weights of all terms at the current step; the weight of L1 is the remainder to 1.

    The sync weight is `syncnet` until a validation has a sync loss below a threshold; before that the expert's
    gradients are noise. From then on it is the larger of `syncnet` and `syncnet_on`, optionally after a ramp. With
    two constants and no ramp this is upstream's schedule.
    """

    def __init__(
        self, *, syncnet: PiecewiseLinear, syncnet_on: PiecewiseLinear, sync_threshold: float, sync_ramp_steps: int = 0,
        sync_min_step: int = 0, disc: PiecewiseLinear | None = None, vgg: PiecewiseLinear | None = None,
        teacher: PiecewiseLinear | None = None, feature_matching: PiecewiseLinear | None = None,
    ):  # fmt: skip
        """sync_min_step: steps before which the sync loss is not switched on.
        sync_ramp_steps: steps over which the sync weight rises after it is switched on; 0: immediately.

        disc, vgg, teacher, feature_matching: weights of the discriminator's, the perceptual and the teacher's term, and
            of the distance of the discriminator's features; None: 0.
        Raises: InputError if the weights can exceed 1, which would make the weight of L1 negative.
        """
        self._schedules = {
            "syncnet_wt": syncnet, "syncnet_wt_on": syncnet_on, "disc_wt": disc or ZERO, "vgg_wt": vgg or ZERO,
            "teacher_wt": teacher or ZERO, "feature_matching_wt": feature_matching or ZERO,
        }  # fmt: skip
        self._threshold, self._ramp_steps, self._min_step = sync_threshold, sync_ramp_steps, sync_min_step
        self._step = 0
        self._sync_on_since: int | None = None  # first step with the sync loss switched on
        largest = [schedule.maximum for schedule in self._schedules.values()]
        total = max(largest[:2]) + sum(largest[2:])
        if total > 1:
            raise InputError(
                f"{', '.join(self._schedules)}: must sum to at most 1, got {total:g}; the L1 loss has the rest"
            )

    def set_step(self, step: int) -> None:
        """Set the current optimizer step, counted from 0."""
        self._step = step

    @property
    def syncnet(self) -> float:
        """Weight of the expert's sync loss."""
        off = self._schedules["syncnet_wt"].at(self._step)
        if self._sync_on_since is None:
            return off
        on = max(off, self._schedules["syncnet_wt_on"].at(self._step))
        steps_on = self._step - self._sync_on_since + 1
        return on if steps_on >= self._ramp_steps else off + (on - off) * steps_on / self._ramp_steps

    @property
    def disc(self) -> float:
        """Weight of the discriminator's term."""
        return self._schedules["disc_wt"].at(self._step)

    @property
    def vgg(self) -> float:
        """Weight of the perceptual loss."""
        return self._schedules["vgg_wt"].at(self._step)

    @property
    def teacher(self) -> float:
        """Weight of the distance to the teacher's frames."""
        return self._schedules["teacher_wt"].at(self._step)

    @property
    def feature_matching(self) -> float:
        """Weight of the distance of the discriminator's features."""
        return self._schedules["feature_matching_wt"].at(self._step)

    @property
    def l1(self) -> float:
        """Weight of the L1 loss."""
        return 1 - self.syncnet - self.disc - self.vgg - self.teacher - self.feature_matching

    def on_validation(self, sync: float) -> None:
        """Switch the sync loss on if the validation's sync loss is below the threshold, and the step late enough."""
        next_step = self._step + 1
        if self._sync_on_since is None and sync < self._threshold and next_step >= self._min_step:
            self._sync_on_since = next_step

    def state_dict(self) -> dict[str, Any]:
        """State of the switch; for readers of the file also the current weights and their schedules."""
        return {
            "sync_on": self._sync_on_since is not None,
            "sync_on_since": self._sync_on_since,
            "weights": {
                "syncnet_wt": self.syncnet,
                "disc_wt": self.disc,
                "vgg_wt": self.vgg,
                "teacher_wt": self.teacher,
                "feature_matching_wt": self.feature_matching,
                "l1_wt": self.l1,
            },
            "weight_schedules": {
                key: [list(point) for point in schedule.points] for key, schedule in self._schedules.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the switch. Schedules come from the config; a difference from the checkpoint's is logged."""
        switch = parse_state(SwitchState, state)
        if "sync_on" in state:  # in files without sync_on_since any ramp is over
            self._sync_on_since = (switch.sync_on_since or 0) if switch.sync_on else None
        for key, points in switch.weight_schedules.items():
            schedule = self._schedules.get(key)
            configured = [list(point) for point in schedule.points] if schedule else points
            if points != configured:
                log.info("%s: using %s from the config, the checkpoint had %s", key, configured, points)
