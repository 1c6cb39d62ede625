"""Notices a training that has gone wrong, from means that are logged anyway, and decides what is done about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from train.guard.signs import CRITIC, GENERATOR, Means, signs

ACTIONS = ("warn", "stop", "rollback")


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong, in one sentence with figures and a way out."""

    sentence: str
    began: int  # step until which all was well
    networks: tuple[str, ...]  # prefixes of the networks whose rate is too high
    fatal: bool = False  # nothing can come of going on


@dataclass
class Guard:
    """Judges the means of each log interval; a sign that lasts for `patience` of them in a row is a trouble.

    A mean that is no finite number is one at once. A trouble is told once, and again if it goes and comes back.
    """

    action: str = "warn"  # what is done: warn, stop or rollback; what is fatal stops where it would be warned of
    patience: int = 20  # log intervals
    sync_factor: float = 1.5  # times its best mean from which on the sync loss has risen
    rollbacks: int = 3  # how often to go back at most; then it stops
    rate_factor: float = 0.5  # what a rollback multiplies learning rates by
    skips: bool = False  # the precision skips steps with gradients that are not finite
    _lasting: dict[str, int] = field(default_factory=dict)  # log intervals in a row of each sign
    _well: dict[str, int] = field(default_factory=dict)  # step of the last look before each sign
    _best_sync: float = math.inf
    _best_step: int = 0
    last: int = 0  # step of the last look
    _told: set[str] = field(default_factory=set)  # signs that last and were told
    _bad: list[tuple[int, int]] = field(default_factory=list)  # steps from which, and until which, a rollback undid
    _used: int = 0  # rollbacks so far
    _rates: dict[str, float] = field(default_factory=dict)  # what the rollbacks came to, by prefix

    def look(self, step: int, means: Means) -> Trouble | None:
        """Judge the means of the steps since the last look; the gravest new trouble, if there is one."""
        last, self.last = self.last, step
        if broken := self._not_finite(means):
            return Trouble(
                f"{', '.join(broken)} came to {means[broken[0]]} between steps {last} and {step}, and the weights "
                "are lost; go back to a checkpoint from before with a lower learning_rate, warmup=500 or clip=1.0",
                began=last,
                networks=(GENERATOR, CRITIC),
                fatal=True,
            )
        if means.get("sync", math.inf) < self._best_sync:
            self._best_sync, self._best_step = means["sync"], step
        present = signs(means, self._best_sync, self._best_step, self.sync_factor)
        self._well = {name: self._well.get(name, last) for name in present}
        self._lasting = {name: self._lasting.get(name, 0) + 1 for name in present}
        self._told &= set(present)
        for name, sign in present.items():
            if self._lasting[name] >= self.patience and name not in self._told:
                self._told.add(name)
                since = self._well[name]
                return Trouble(f"{sign.finding}, since step {since}; {sign.remedy}", since, sign.networks)
        return None

    def _not_finite(self, means: Means) -> list[str]:
        skipped = "gradient_norm" if self.skips else "\0"
        return [name for name, mean in means.items() if not math.isfinite(mean) and not name.endswith(skipped)]

    def answer(self, trouble: Trouble) -> str:
        """What is to be done about a trouble: warn, stop or rollback."""
        if self.action == "rollback":
            return "rollback" if self._used < self.rollbacks else "stop"
        return "stop" if trouble.fatal else self.action

    def sound(self, step: int) -> bool:
        """Whether the weights of a step are not of a stretch that a rollback undid."""
        return not any(began < step <= end for began, end in self._bad)

    def rolled_back(self, trouble: Trouble, step: int) -> None:
        """Lower the rates of the networks that learned too fast, and watch anew. step: at which it went back."""
        self._used += 1
        self._bad.append((trouble.began, step))
        for prefix in trouble.networks:
            self._rates[prefix] = self.rate(prefix) * self.rate_factor
        self._lasting.clear()
        self._well.clear()
        self._told.clear()

    def rate(self, prefix: str) -> float:
        """What the learning rate of a network is multiplied by; 1 until there was a rollback."""
        return self._rates.get(prefix, 1.0)

    def state(self) -> dict[str, Any]:
        """What a resume needs to judge and act as if training had never stopped."""
        return {
            "lasting": dict(self._lasting), "well": dict(self._well), "last": self.last,
            "best_sync": self._best_sync, "best_step": self._best_step, "used": self._used, "rates": dict(self._rates),
            "told": sorted(self._told), "bad": [list(stretch) for stretch in self._bad],
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """Take back what `state` gave; None, of a file that has none, changes nothing."""
        if state is None:
            return
        self._lasting, self._well, self._rates = (dict(state[name]) for name in ("lasting", "well", "rates"))
        self._best_sync, self._best_step = state["best_sync"], state["best_step"]
        self.last, self._used = state["last"], state["used"]
        self._told = set(state["told"])
        self._bad = [(began, end) for began, end in state["bad"]]
