"""What the means of a stretch of training look like when something is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Means = Mapping[str, float]  # by the names of the curves train/NAME

GENERATOR, CRITIC = "", "disc_"  # prefixes of the networks' checkpoints
GUESS = math.log(2)  # cross-entropy of saying 0.5 to everything
SURE = 0.01  # cross-entropy below which a critic is right about nearly every frame, with 99 % certainty
DEAF = 10.0  # cross-entropy of its verdict on generated frames above which it has nothing to say but "never"
UNMOVED = 0.005  # distance from GUESS within which a critic says 0.5 to everything
WILD = 5.0  # cross-entropy above which a critic is mistaken with 99 % certainty
RISE = 0.1  # by which a sync loss rises at least, or it counts as noise


@dataclass(frozen=True)
class Sign:
    """Something that is wrong if it lasts."""

    finding: str  # with figures
    remedy: str
    networks: tuple[str, ...]  # prefixes of the networks that learn too fast, if that is why


def signs(means: Means, best_sync: float, best_step: int, sync_factor: float) -> dict[str, Sign]:
    """The signs that means show, by name, the gravest first.

    best_sync: lowest mean of the sync loss until now, inf before there is one, and best_step its step.
    sync_factor: times that from which on a sync loss has risen.
    """
    found = of_critic(means) if "critic_real" in means else {}
    sync = means.get("sync", 0.0)
    if sync > max(best_sync * sync_factor, best_sync + RISE):
        found["sync diverges"] = Sign(
            f"the sync loss diverges: {sync:.3f}, where it was {best_sync:.3f} at step {best_step}",
            "go back to a checkpoint from before with a lower learning_rate, or a larger syncnet_wt_on if another term "
            "has taken over",
            (GENERATOR,),
        )
    return found


def of_critic(means: Means) -> dict[str, Sign]:
    """The signs that the critic's losses show."""
    real, fake = means["critic_real"], means["critic_fake"]
    figures = f"its loss is {real:.4f} on photographs and {fake:.4f} on generated frames, where a guess is {GUESS:.4f}"
    back = "go back to a checkpoint from before"
    if max(real, fake) > WILD:
        found = "the critic has collapsed and says one thing with certainty, whatever it sees"
        remedy = f"{back} with a lower disc_learning_rate, or clip=1.0"
        return {"critic collapsed": Sign(f"{found}: {figures}", remedy, (CRITIC,))}
    heard = means.get("perceptual_weight", 0.0) > 0  # not while it learns alone
    if heard and (max(real, fake) < SURE or means["perceptual"] > DEAF):
        found = "the critic has won and its verdict teaches the generator nothing more"
        remedy = f"{back} with a lower disc_learning_rate, or train the generator without a critic for longer first"
        return {"critic won": Sign(f"{found}: {figures}", remedy, (CRITIC,))}
    if abs(real - GUESS) < UNMOVED and abs(fake - GUESS) < UNMOVED:
        remedy = f"{back}; if it never did better, try another disc_learning_rate"
        return {"critic dead": Sign(f"the critic learns nothing: {figures}", remedy, (CRITIC,))}
    return {}
