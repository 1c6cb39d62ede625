"""What is done about a trouble: it is told, training stops, or it goes back to a checkpoint from before."""

from __future__ import annotations

import logging

import torch
from lightning_fabric import Fabric

from train.checkpointing import Checkpoints
from train.guard.guard import Guard, Trouble
from train.guard.signs import CRITIC, GENERATOR
from train.resuming import newest, resume
from train.trained import Trained, unwrapped

log = logging.getLogger(__name__)


def rescue(guard: Guard, trouble: Trouble, checkpoints: Checkpoints, step: int) -> bool:
    """Answer a trouble as configured; whether training goes on.

    Going back takes weights, averages and optimizers, not the step: the data goes on and the curves do not double
    back. It depends on nothing but the files and the step, so a training killed afterwards comes to the same.
    """
    fabric, answer = checkpoints.fabric, guard.answer(trouble)
    found = newest(checkpoints, lambda saved: saved <= trouble.began and guard.sound(saved))
    before = checkpoints.path(checkpoints.trained[0], found[0].global_step) if found else None
    known = f"from before is {before}" if before else "no checkpoint is from before"
    if answer == "warn":
        tell(fabric, logging.WARNING, f"step {step}: {trouble.sentence} ({known})")
        return True
    if answer == "stop" or found is None or before is None:
        tell(fabric, logging.ERROR, f"stopped at step {step}: {trouble.sentence} ({known})")
        return False
    for trained, checkpoint in zip(checkpoints.trained, found, strict=True):
        resume(checkpoint, before, trained, reset_optimizer=False, stored_rates=False)
    guard.rolled_back(trouble, step)
    for trained in checkpoints.trained:  # at once: a file saved at this step says the rate that it goes on with
        if trained.prefix in trouble.networks:
            trained.set_rates(trained.rates(), guard.rate_factor)
    rates = " and ".join(f"{prefix}learning_rate times {guard.rate(prefix):g}" for prefix in trouble.networks)
    tell(fabric, logging.WARNING, f"step {step}: {trouble.sentence}. Goes on with the weights of {before} and {rates}")
    return True


def lost(trained: list[Trained], sound: int) -> Trouble | None:
    """The trouble that weights are in which are no finite numbers any more: such are never saved over good ones.

    sound: step until which all was well.
    """
    values = [value for each in trained for value in unwrapped(each.network).state_dict().values()]
    finite = torch.stack([value.isfinite().all() for value in values if value.is_floating_point()]).all()
    if finite.item():
        return None
    return Trouble(
        f"weights came to NaN or infinity after step {sound} and are not saved; go back to a checkpoint from before "
        "with a lower learning_rate, warmup=500 or clip=1.0",
        began=sound,
        networks=(GENERATOR, CRITIC),
        fatal=True,
    )


def tell(fabric: Fabric, level: int, sentence: str) -> None:
    """Say it once, in the first process."""
    if fabric.is_global_zero:
        log.log(level, "%s", sentence)
