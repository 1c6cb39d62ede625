"""Detect a run that has gone wrong from its logged means, and warn, stop or roll back.

An anomaly must last for `patience` log intervals; a non-finite mean or weight acts at once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from train.callbacks.base import AbortRun, Callback
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.plain_state import parse_state
from train.checkpoint.state import State, TrainState
from train.losses.adversarial import BCE
from train.trainable import TrainableModel, unwrap

log = logging.getLogger(__name__)

GENERATOR, DISCRIMINATOR = "", "disc_"  # model prefixes
CHANCE_LOSS = BCE.chance
WON_LOSS = 0.01  # below it the discriminator is right with 99 % confidence about nearly every frame
MAX_GAN_LOSS = 10.0  # above it the generator's gradient through the discriminator vanishes
CHANCE_DISTANCE = 0.005  # a discriminator this close to chance outputs a constant, or is fooled
COLLAPSED_LOSS = 5.0  # above it the discriminator is wrong with 99 % confidence
MIN_SYNC_RISE = 0.1  # a smaller rise of the sync loss is noise
RESTART = "go back to an earlier checkpoint with"


@dataclass(frozen=True)
class Anomaly:
    """A finding with figures and remedy."""

    kind: str
    message: str
    prefixes: tuple[str, ...]  # models whose learning rate is too high
    last_good_step: int = 0
    is_fatal: bool = False  # stop the run even if the action is warn


@dataclass
class Memory:
    """State of the monitor across steps."""

    streaks: dict[str, int] = field(default_factory=dict)  # log intervals in a row, by kind of anomaly
    good_steps: dict[str, int] = field(default_factory=dict)  # last step before each streak
    reported: list[str] = field(default_factory=list)  # kinds that last and were reported
    best_sync: float = math.inf
    best_step: int = 0
    last_step: int = 0  # step of the last check
    undone: list[list[int]] = field(default_factory=list)  # [last good step, step of the rollback]


def detect(
    means: Mapping[str, float], memory: Memory, sync_rise_factor: float, chance_loss: float = CHANCE_LOSS
) -> Iterator[Anomaly]:
    """Yield the anomalies in means, the most severe first; means: by the names of the curves train/NAME."""
    if "disc_real" in means:
        yield from _detect_discriminator(means["disc_real"], means["disc_fake"], means, chance_loss)
    best, sync = memory.best_sync, means.get("sync", 0.0)
    if sync > max(best * sync_rise_factor, best + MIN_SYNC_RISE):
        message = (f"the sync loss diverged: {sync:.3f}, after {best:.3f} at step {memory.best_step}; {RESTART} a "
                   "lower learning_rate, or a larger syncnet_wt_on if another loss dominates")  # fmt: skip
        yield Anomaly("sync loss diverged", message, (GENERATOR,))


def _detect_discriminator(
    real: float, fake: float, means: Mapping[str, float], chance_loss: float
) -> Iterator[Anomaly]:
    has_generator = means.get("disc_wt", 0.0) > 0  # while the discriminator trains alone it may win
    if max(real, fake) > COLLAPSED_LOSS:
        kind, remedy = "discriminator collapsed", "a lower disc_learning_rate, or grad_clip_norm=1.0"
    elif has_generator and (max(real, fake) < WON_LOSS or means.get("gan_generator", 0.0) > MAX_GAN_LOSS):
        kind, remedy = (
            "discriminator won",
            "a lower disc_learning_rate, a larger r1_wt, or train longer without it first",
        )
    elif abs((real + fake) / 2 - chance_loss) < CHANCE_DISTANCE:
        kind, remedy = (
            "discriminator at chance",
            "disc_init=he if it starts untrained, another disc_learning_rate if the generator fools it",
        )
    else:
        return
    figures = f"loss {real:.4f} on real and {fake:.4f} on generated frames, {chance_loss:.4f} at chance"
    yield Anomaly(kind, f"{kind}: {figures}; {RESTART} {remedy}", (DISCRIMINATOR,))


class DivergenceMonitor(Callback):
    """Checks the means of each log interval, and the weights before each save."""

    def __init__(
        self, manager: CheckpointManager, *, action: str = "warn", patience: int = 20, max_rollbacks: int = 3,
        lr_backoff: float = 0.5, sync_rise_factor: float = 1.5, skips_nonfinite: bool = False,
        chance_loss: float = CHANCE_LOSS,
    ):  # fmt: skip
        """action to sync_rise_factor: the keys of health in configs/training.yaml.
        chance_loss: loss on real and on generated frames of a discriminator that cannot distinguish them.
        skips_nonfinite: the precision skips steps with non-finite gradients, so their norm may be infinite.
        """
        self.manager, self.action, self.patience, self.max_rollbacks = manager, action, patience, max_rollbacks
        self.lr_backoff, self.sync_rise_factor, self.skips_nonfinite = lr_backoff, sync_rise_factor, skips_nonfinite
        self.chance_loss = chance_loss
        self.memory = Memory()

    def on_log(self, state: TrainState, means: Mapping[str, float]) -> None:
        """Act on an anomaly in the means."""
        if anomaly := self.check(state.step, means):
            self._act(anomaly, state.step)

    def on_save(self, state: TrainState) -> None:
        """Act on non-finite weights, which must never overwrite a good checkpoint."""
        if not has_finite_weights(self.manager.models):
            self._act(_nonfinite("weights are NaN or infinite after step", self.memory.last_step), state.step)

    def check(self, step: int, means: Mapping[str, float]) -> Anomaly | None:
        """Return the most severe lasting anomaly not reported before; one that comes back is reported again."""
        memory, previous = self.memory, self.memory.last_step
        memory.last_step = step
        for name, mean in means.items():
            if not math.isfinite(mean) and not (self.skips_nonfinite and name.endswith("gradient_norm")):
                return _nonfinite(f"{name} is {mean} at step {step}, finite until step", previous)
        if means.get("sync", math.inf) < memory.best_sync:
            memory.best_sync, memory.best_step = means["sync"], step
        anomalies = {
            anomaly.kind: anomaly for anomaly in detect(means, memory, self.sync_rise_factor, self.chance_loss)
        }
        memory.good_steps = {kind: memory.good_steps.get(kind, previous) for kind in anomalies}
        memory.streaks = {kind: memory.streaks.get(kind, 0) + 1 for kind in anomalies}
        memory.reported = [kind for kind in memory.reported if kind in anomalies]
        for kind, anomaly in anomalies.items():
            if memory.streaks[kind] >= self.patience and kind not in memory.reported:
                memory.reported.append(kind)
                good = memory.good_steps[kind]
                return replace(anomaly, message=f"{anomaly.message}; since step {good}", last_good_step=good)
        return None

    def choose_action(self, anomaly: Anomaly) -> str:
        """Return warn, stop or rollback."""
        if self.action == "rollback":
            return "rollback" if len(self.memory.undone) < self.max_rollbacks else "stop"
        return "stop" if anomaly.is_fatal else self.action

    def is_good(self, step: int) -> bool:
        """Return whether no rollback has undone a step."""
        return not any(good < step <= end for good, end in self.memory.undone)

    def record_rollback(self, anomaly: Anomaly, step: int) -> None:
        """Note the steps that a rollback undoes, and reset the streaks."""
        undone = [*self.memory.undone, [anomaly.last_good_step, step]]
        self.memory = replace(self.memory, undone=undone, streaks={}, good_steps={}, reported=[])

    def _act(self, anomaly: Anomaly, step: int) -> None:
        action, manager = self.choose_action(anomaly), self.manager
        checkpoints = manager.latest(lambda saved: saved <= anomaly.last_good_step and self.is_good(saved))
        source = manager.path(manager.models[0], checkpoints[0].global_step) if checkpoints else None
        stops = action == "stop" or (action == "rollback" and not checkpoints)
        if action == "rollback" and checkpoints:
            self.record_rollback(anomaly, step)
            manager.rollback(checkpoints, dict.fromkeys(anomaly.prefixes, self.lr_backoff))
            factors = manager.state.lr_factors
            rates = " and ".join(f"{prefix}learning_rate times {factors[prefix]:g}" for prefix in anomaly.prefixes)
            result = f". Rolled back to {source}, {rates}"
        else:
            result = f" (last good checkpoint: {source})" if source else " (there is no earlier checkpoint)"
        if manager.fabric.is_global_zero:
            message = f"{'stopped at ' * stops}step {step}: {anomaly.message}{result}"
            log.log(logging.ERROR if stops else logging.WARNING, "%s", message)
        if stops:
            raise AbortRun

    def state_dict(self) -> State:
        """Return the memory."""
        return asdict(self.memory)

    def load_state_dict(self, state: State) -> None:
        """Restore the memory, so that a resumed run acts as one that never stopped."""
        self.memory = parse_state(Memory, state)


def _nonfinite(finding: str, last_good_step: int) -> Anomaly:
    message = f"{finding} {last_good_step}; {RESTART} a lower learning_rate, warmup_steps=500 or grad_clip_norm=1.0"
    return Anomaly("non-finite", message, (GENERATOR, DISCRIMINATOR), last_good_step, is_fatal=True)


def has_finite_weights(models: Sequence[TrainableModel]) -> bool:
    """Return whether all weights are finite; waits for the device."""
    values = [value for model in models for value in unwrap(model.network).state_dict().values()]
    return bool(torch.stack([value.isfinite().all() for value in values if value.is_floating_point()]).all())
