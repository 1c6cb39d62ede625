"""How a training goes on: what it takes from a checkpoint, and which one is whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from torch.optim import Optimizer

from train.checkpointing import LAST, NUMBERED, Checkpoints, numbered_files, restore_randomness
from train.trained import Trained, unwrapped
from wav2lip.checkpoints import Checkpoint, PathType, load_checkpoint, load_weights
from wav2lip.errors import InputError

if TYPE_CHECKING:  # the loop goes back to checkpoints, with what is here
    from train.loop import Loop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumed:
    """What a checkpoint says of the training that it is from."""

    step: int
    epoch: int
    extras: dict[str, Any]


def start(cfg: DictConfig, loop: Loop) -> None:
    """Let a loop begin: with cfg.resume at the newest whole checkpoint, else at cfg.checkpoint_path, else at step 0."""
    if cfg.overfit:
        return  # what is tested is whether it learns from nothing
    loop.resumed = bool(cfg.resume) and go_on(cfg, loop)
    if loop.resumed:
        return
    if cfg.checkpoint_path:
        take_up(cfg, loop, cfg.checkpoint_path, loop.trained[0])
    elif not cfg.resume and numbered_files(loop.folder, loop.trained[0].prefix) and loop.fabric.is_global_zero:
        log.warning("%s holds checkpoints of another run; resume=true would go on from the last one", loop.folder)


def go_on(cfg: DictConfig, loop: Loop) -> bool:
    """Go on from the newest checkpoint of checkpoint_dir that is whole, for all networks; whether there is one.

    All of it is taken, whatever reset_optimizer says, which is about weights from elsewhere.
    """
    checkpoints = loop.checkpoints
    last = _last_step(checkpoints)
    found = newest(checkpoints, lambda step: last is None or step <= last)
    if found is None:
        log.info("resume: there is no whole checkpoint in %s yet", checkpoints.folder)
        return False
    step = found[0].global_step
    for trained, checkpoint in zip(loop.trained, found, strict=True):
        _take(cfg, loop, checkpoint, checkpoints.path(trained, step), trained, reset_optimizer=False)
    log.info("resume: goes on from %s", checkpoints.path(loop.trained[0], step))
    return True


def _last_step(checkpoints: Checkpoints) -> int | None:
    """The step that was saved last: files of later ones are of an earlier run in the same folder. None if unknown."""
    last = checkpoints.folder / (checkpoints.trained[0].prefix + LAST)
    if not last.is_file():
        return None
    try:
        return load_checkpoint(last).global_step
    except InputError as error:
        log.warning("passed over: %s", error)
        return None


def newest(checkpoints: Checkpoints, counts: Callable[[int], bool]) -> list[Checkpoint] | None:
    """The newest whole numbered checkpoints, the same in all processes; None if there are none.

    counts: whether those of a step may be taken.
    """
    found = _newest_whole(checkpoints, counts) if checkpoints.fabric.is_global_zero else None
    step = checkpoints.fabric.broadcast(found[0].global_step if found else None)
    if step is None:
        return None
    return found or _load(checkpoints, step)


def _newest_whole(checkpoints: Checkpoints, counts: Callable[[int], bool]) -> list[Checkpoint] | None:
    """One checkpoint of each network, all saved at the same moment. What is passed over is logged with the reason."""
    for step, _ in numbered_files(checkpoints.folder, checkpoints.trained[0].prefix):
        if not counts(step):
            continue
        try:
            return _load(checkpoints, step)
        except InputError as error:
            log.warning("passed over: %s", error)
    return None


def _load(checkpoints: Checkpoints, step: int) -> list[Checkpoint]:
    paths = [checkpoints.path(trained, step) for trained in checkpoints.trained]
    loaded = [load_checkpoint(path) for path in paths]
    if len({checkpoint.extras.get("saved") for checkpoint in loaded}) > 1:
        raise InputError(f"{' and '.join(map(str, paths))}: were not saved at the same moment; remove one of them")
    return loaded


def take_up(cfg: DictConfig, loop: Loop, path: str, network: Trained) -> None:
    """Load a checkpoint into one of the loop's networks, the way the config says.

    Raises: InputError if the file is damaged, naming the whole one before it, or of another network.
    """
    try:
        checkpoint = load_checkpoint(path)
    except InputError as error:
        before = whole_before(Path(path))
        hint = f"; the whole one before it is {before}" if before else ""
        raise InputError(f"{error}{hint}") from error
    _take(cfg, loop, checkpoint, path, network, reset_optimizer=cfg.reset_optimizer)


def whole_before(path: Path) -> Path | None:
    """The newest whole checkpoint of the same network and folder with a lower number."""
    match = NUMBERED.search(path.name)
    if match is None:
        return None
    for step, earlier in numbered_files(path.parent, prefix=path.name[: match.start()]):
        if step < int(match[1]):
            try:
                load_checkpoint(earlier)
            except InputError as error:
                log.warning("passed over: %s", error)
            else:
                return earlier
    return None


def _take(
    cfg: DictConfig, loop: Loop, checkpoint: Checkpoint, path: PathType, network: Trained, *, reset_optimizer: bool
) -> None:
    scheduled = cfg.lr_schedule != "constant" or cfg.warmup > 0  # a schedule starts from the configured rate
    stored_rates = cfg.compat.stored_rates and not scheduled
    found = resume(checkpoint, path, network, reset_optimizer=reset_optimizer, stored_rates=stored_rates)
    if stored_rates:  # rollbacks lowered those in the file, and go on lowering them
        lowered = found.extras.get("step_state", {}).get("guard", {}).get("rates", {})
        network.set_rates(network.rates(), 1 / lowered.get(network.prefix, 1.0))
    if network is not loop.trained[0]:
        return  # the critic's own counters do not matter, the generator's do
    loop.progress.step = found.step
    epoch_start = found.epoch * loop.schedule.epoch_samples  # all that a public file tells
    loop.progress.samples = int(found.extras.get("samples", epoch_start))
    state = found.extras.get("step_state", {})
    loop.step.load_state(state)
    loop.watch.load_state(state.get("watch", {}))
    if loop.judge is not None:
        loop.judge.load_state(state.get("judge"))
    loop.guard.load_state(state.get("guard"))
    loop.means.load_state(state.get("means", {}), loop.fabric.device)
    restore_randomness(loop.fabric, found.extras)
    if not cfg.compat.sync_weight_kept:
        loop.step.load_state({"sync_on": False})


def resume(
    checkpoint: Checkpoint, path: PathType, trained: Trained, *, reset_optimizer: bool, stored_rates: bool
) -> Resumed:
    """Take weights from a checkpoint, and the optimizer's state.

    path: where it was read from, for messages.
    reset_optimizer: the weights only, and a fresh optimizer, as fine-tuning from a public file wants.
    stored_rates: keep the file's learning rate and betas, as the release does, instead of the configured ones.
    Raises: InputError if the file is of another network or its optimizer of another shape.
    """
    network = unwrapped(trained.network)
    load_weights(network, checkpoint.state_dict, path)
    extras = checkpoint.extras
    if trained.ema is not None:
        trained.ema.load(network.state_dict(), 0 if reset_optimizer else int(extras.get("ema_steps", 0)))
    if reset_optimizer:
        return Resumed(0, 0, {})
    if "own_weights" in extras:
        load_weights(network, extras["own_weights"], path)
    if checkpoint.optimizer is None:
        log.warning("%s: has no optimizer state; it starts fresh", path)
    else:
        _load_optimizer(trained.optimizer, checkpoint.optimizer, path, stored_rates)
    return Resumed(checkpoint.global_step, checkpoint.global_epoch, extras)


def _load_optimizer(optimizer: Optimizer, state: dict[str, Any], path: PathType, stored_rates: bool) -> None:
    configured = [{key: group[key] for key in ("lr", "betas")} for group in optimizer.param_groups]
    try:
        for group in state["param_groups"]:  # how the sum is done is a matter of this machine, not of the file
            group["fused"] = optimizer.param_groups[0]["fused"]
        optimizer.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: its optimizer does not fit ({error}); add reset_optimizer=true") from error
    if not stored_rates:
        for group, ours in zip(optimizer.param_groups, configured, strict=True):
            group.update(ours)
