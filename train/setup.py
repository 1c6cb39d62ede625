"""From a config to a training run: what the three entry points build alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf
from torch import nn

from train.data.face_sizes import warn_if_enlarged
from train.data.feeding import feed
from train.data.mixture import Mixture
from train.data.resident import Memory
from train.data.samples import Numbers, Samples, SampleSet, Windows, open_windows
from train.data.sources import WindowsOf
from train.devices import adam, best_precision, compiled, make_ready
from train.ema import Ema
from train.guard.guard import ACTIONS, Guard
from train.loop import Loop, Schedule, Step
from train.processes import first_alone_tells_news
from train.resuming import start
from train.schedules import RateSchedule
from train.scores.stopping import Watch
from train.scores.validation import Validation
from train.settings import check
from train.sync_batchnorm import synchronize
from train.trained import Trained, freeze, unwrapped
from train.verdicts.judging import RulesOf, build_judge
from train.watching.monitor import Monitor
from wav2lip.errors import InputError


def build_fabric(cfg: DictConfig) -> Fabric:
    """Devices, precision and processes; under torchrun every process comes through here."""
    accelerator = "auto" if cfg.device == "auto" else str(cfg.device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its tips are not about this program
    precision: Any = best_precision(accelerator) if cfg.precision == "auto" else cfg.precision
    devices, nodes = cfg.devices, cfg.num_nodes
    if "LOCAL_WORLD_SIZE" in os.environ:  # started by torchrun, which has counted already
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"device={cfg.device} devices={devices} precision={cfg.precision}: {error}") from error
    fabric.launch()
    first_alone_tells_news(fabric)
    make_ready(fabric.device)
    check(cfg, fabric.world_size)
    fabric.seed_everything(cfg.seed, verbose=False)
    return fabric


def trained(
    fabric: Fabric,
    network: nn.Module,
    cfg: DictConfig,
    prefix: str = "",
    averaged: bool = True,
    rate: float | None = None,
) -> Trained:
    """A network on its device with the configured Adam.

    averaged: keep an average of its weights, if the config asks for one.
    rate: its learning rate; None: the configured one.
    """
    network = network.to(memory_format=torch.channels_last)  # what convolutions are fastest in, on CPUs too
    if cfg.sync_batchnorm and fabric.world_size > 1:
        network = synchronize(network, on_gpu=fabric.device.type == "cuda")
    frozen_parts = freeze(network, () if prefix else cfg.freeze)  # of the critic all is trained
    rate = cfg.learning_rate if rate is None else rate
    optimizer = adam(network, rate, cfg.betas, fabric.strategy.precision.precision)
    wrapped, optimizer = fabric.setup(network, optimizer)
    compiled(unwrapped(wrapped), cfg.compile, fabric.device)
    ema = Ema(unwrapped(wrapped), cfg.ema) if averaged and cfg.ema is not None else None
    return Trained(wrapped, optimizer, prefix, ema, cfg.clip, frozen_parts)


def frozen(fabric: Fabric, network: nn.Module) -> nn.Module:
    """A network that is only asked: no gradients of its own, not part of the sync between processes."""
    return network.requires_grad_(False).to(fabric.device).to(memory_format=torch.channels_last)


def read_training(cfg: DictConfig, fabric: Fabric, samples: Samples, windows_of: WindowsOf) -> SampleSet:
    """The windows to train on; cfg.mix_share of them come from the train list of cfg.mix_root, if that is given."""
    own = read_windows(cfg, fabric, "train", samples, windows_of)
    warn_if_enlarged(own.clips, cfg.model.resolution)
    if cfg.mix_root is None:
        return own
    general = read_windows(cfg, fabric, "train", samples, windows_of, "mix_root")
    return Mixture(own, general, cfg.mix_share, cfg.seed)


def read_windows(
    cfg: DictConfig, fabric: Fabric, split: str, samples: Samples, windows_of: WindowsOf, root_key: str = "data_root"
) -> Windows:
    """The windows of filelists/SPLIT.txt, from the clip folders, a pack of them or memory, as cfg.data says.

    windows_of: makes ClipWindows of the frames that the clips have.
    """
    root = Path(cfg[root_key])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the {root_key} that preprocess made")
    lists = filelist_folder(cfg) if root_key == "data_root" else root / "filelists"
    # Another seed for validation: where it draws, as in the release, it does not draw the windows of training.
    seed = cfg.seed if split == "train" else cfg.seed + 1
    # Processes on CPUs hold their clips in the same memory; those on GPUs each have their own.
    memory = Memory(fabric.device, cfg.data_memory, 1 if fabric.device.type == "cuda" else fabric.world_size)
    return open_windows(
        root, lists / f"{split}.txt", windows_of, samples, seed=seed, clips_equal=cfg.compat.clips_equal,
        form=cfg.data, size=cfg.model.resolution, memory=memory,
    )  # fmt: skip


def filelist_folder(cfg: DictConfig) -> Path:
    """The configured folder of file lists, else the data set's own, else ./filelists as in the release."""
    if cfg.filelists:
        return Path(cfg.filelists)
    own = Path(cfg.data_root) / "filelists"
    return own if own.is_dir() else Path("filelists")


def build_loop(cfg: DictConfig, fabric: Fabric, step: Step, networks: list[Trained], train: SampleSet, val: Windows,
               rules: RulesOf, pictures: Any = None) -> Loop:  # fmt: skip
    """The loop over these windows, resumed from cfg.checkpoint_path if that is given.

    rules: by which the trainer is judged.
    """
    pin = fabric.device.type == "cuda"

    def train_batches(first: int) -> Iterator[Any]:
        numbers = Numbers(cfg.batch_size, first, fabric.global_rank, fabric.world_size)
        return feed(train, numbers, cfg.batch_size, cfg.num_workers, pin, cfg.prefetch)

    count = None if cfg.eval_windows == "all" else cfg.eval_windows
    validation = Validation(fabric, val, cfg.batch_size, count, cfg.prefetch, redrawn=cfg.compat.random_validation)
    watch = Watch(cfg.watch, step.watchable, cfg.stop.patience, cfg.stop.below)
    validation.check(cfg.watch)
    loop = Loop(
        fabric=fabric,
        step=step,
        trained=networks,
        train_batches=train_batches,
        val_batches=validation.batches,
        val_batches_around=validation.batches_around,
        pictures=pictures,
        schedule=Schedule(
            max_steps=cfg.max_steps,
            max_epochs=cfg.nepochs,
            epoch_samples=len(train.clips),  # a pass is one sample per clip, as in the release
            eval_interval=cfg.eval_interval,
            checkpoint_interval=cfg.checkpoint_interval,
            log_interval=cfg.log_interval,
            validate_first=cfg.validate_first or cfg.reset_optimizer,  # weights from elsewhere are scored as they come
            save_first=cfg.compat.save_first,
            rate=RateSchedule(cfg.warmup, None if cfg.lr_schedule == "constant" else cfg.max_steps),
        ),
        folder=Path(cfg.checkpoint_dir),
        monitor=Monitor(Path(cfg.checkpoint_dir), fabric.is_global_zero, OmegaConf.to_yaml(cfg, resolve=True)),
        batch_size=cfg.batch_size,
        accumulate=cfg.accumulate,
        keep=cfg.keep,
        judge=build_judge(cfg, rules, train, val, validation.count, fabric.world_size),
        watch=watch,
        guard=build_guard(cfg, fabric),
    )
    start(cfg, loop)
    return loop


def build_guard(cfg: DictConfig, fabric: Fabric) -> Guard:
    """What watches over a training, as the config says, checked."""
    wanted = cfg.guard
    if wanted.action not in ACTIONS:
        raise InputError(f"guard.action={wanted.action}: there is no such action; choose {', '.join(ACTIONS)}")
    if wanted.patience < 1 or wanted.rollbacks < 0:
        raise InputError(
            f"guard.patience={wanted.patience}, guard.rollbacks={wanted.rollbacks}: give whole numbers from 1 and 0 up"
        )
    if wanted.sync_factor <= 1 or not 0 < wanted.rate_factor < 1:
        raise InputError(
            f"guard.sync_factor={wanted.sync_factor}, guard.rate_factor={wanted.rate_factor}: the first must be above "
            "1, the second between 0 and 1"
        )
    return Guard(**wanted, skips=getattr(fabric.strategy.precision, "scaler", None) is not None)
