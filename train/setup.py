"""Build a run from its config: fabric, data, models, and the loop with its callbacks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf
from torch import nn

from train.batch_norm.statistics import count_batches
from train.batch_norm.synchronized import synchronize
from train.callbacks.base import Callback
from train.callbacks.console import Console
from train.callbacks.diagnosis.context import RunContext
from train.callbacks.diagnosis.diagnostician import BuildRules, Diagnostician
from train.callbacks.divergence import DivergenceMonitor
from train.callbacks.early_stopping import EarlyStopping
from train.callbacks.graceful_exit import GracefulExit
from train.callbacks.lr_schedule import LRSchedule, WarmupCosine
from train.callbacks.overfit import OverfitGoal, OverfitTest, fixed_batches
from train.callbacks.preview import Generate, SampleGrid, build_preview
from train.callbacks.tensorboard import TensorBoard
from train.callbacks.throughput import Throughput
from train.checkpoint.ema import Ema
from train.checkpoint.files import list_numbered
from train.checkpoint.manager import CheckpointManager
from train.checkpoint.state import RunningMeans, TrainState
from train.data.augmentation import Augmentation, AugmentedDataset
from train.data.checks import warn_if_copied, warn_if_upscaled
from train.data.device_cache import CacheBudget
from train.data.loader import load_batches
from train.data.mixture import ReplayMixture
from train.data.samples import BatchDataset, ResumableSampler, Samples, WindowDataset, open_dataset
from train.data.sources import BuildIndex
from train.devices import best_precision, build_adam, compile_network, configure_device
from train.distributed import silence_other_ranks
from train.loop import Loop, Schedule, Step
from train.losses.adversarial import ADVERSARIAL_LOSSES
from train.trainable import TrainableModel, freeze, unwrap
from train.validate_config import validate
from train.validation.generator import SECOND_SYNC
from train.validation.runner import Validator, network_inputs
from wav2lip.dataset.framing import dataset_framing
from wav2lip.errors import InputError

log = logging.getLogger(__name__)


def build_fabric(cfg: DictConfig) -> Fabric:
    """Set up devices, precision and processes; every process that torchrun starts calls it."""
    accelerator = "auto" if cfg.device == "auto" else str(cfg.device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its tips do not apply here
    precision: Any = best_precision(accelerator) if cfg.precision == "auto" else cfg.precision
    devices, nodes = cfg.devices, cfg.num_nodes
    if "LOCAL_WORLD_SIZE" in os.environ:  # set by torchrun, whose counts take precedence
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"device={cfg.device} devices={devices} precision={cfg.precision}: {error}") from error
    fabric.launch()
    silence_other_ranks(fabric)
    configure_device(fabric.device)
    validate(cfg, fabric.world_size)
    fabric.seed_everything(cfg.seed, verbose=False)
    return fabric


def open_training_set(cfg: DictConfig, fabric: Fabric, samples: Samples, build_index: BuildIndex) -> BatchDataset:
    """Open train.txt; with cfg.replay_root, a mixture with the train.txt of that data set."""
    main = open_split(cfg, fabric, "train", samples, build_index)
    warn_if_upscaled(main.clips, cfg.model.resolution)
    if cfg.replay_root is None:
        return main
    replay = open_split(cfg, fabric, "train", samples, build_index, root_key="replay_root")
    return ReplayMixture(main, replay, cfg.replay_fraction, cfg.seed)


def open_split(
    cfg: DictConfig, fabric: Fabric, split: str, samples: Samples, build_index: BuildIndex, root_key: str = "data_root"
) -> WindowDataset:
    """Open the windows of SPLIT.txt: clip folders, a pack of them, or a cache in memory, as cfg.data_source says."""
    root = Path(cfg[root_key])
    if not root.is_dir():
        raise InputError(f"{root_key}={root}: no such folder; give the output folder of preprocess")
    lists = find_filelists(cfg) if root_key == "data_root" else root / "filelists"
    # Processes on CPUs share one memory; each GPU has its own.
    cache_processes = 1 if fabric.device.type == "cuda" else fabric.world_size
    return open_dataset(
        root,
        lists / f"{split}.txt",
        build_index,
        samples,
        seed=cfg.seed if split == "train" else cfg.seed + 1,  # random validation must not draw the training windows
        uniform_clips=cfg.compat.sample_clips_uniformly,
        data_source=cfg.data_source,
        size=cfg.model.resolution,
        cache=CacheBudget(fabric.device, cfg.device_cache_fraction, cache_processes),
    )


def find_filelists(cfg: DictConfig) -> Path:
    """Return the configured folder of file lists, else the data set's own, else ./filelists as upstream."""
    if cfg.filelists:
        return Path(cfg.filelists)
    default = Path(cfg.data_root) / "filelists"
    return default if default.is_dir() else Path("filelists")


def build_trainable(fabric: Fabric, network: nn.Module, cfg: DictConfig) -> TrainableModel:
    """Set up the expert or the generator with Adam on the device, as configured."""
    frozen = freeze(network, cfg.freeze)
    wrapped, optimizer = _set_up(fabric, network, cfg, cfg.learning_rate)
    ema = None if cfg.ema_decay is None else Ema(unwrap(wrapped), cfg.ema_decay)
    return TrainableModel(wrapped, optimizer, ema=ema, grad_clip_norm=cfg.grad_clip_norm, frozen_modules=frozen)


def build_discriminator(fabric: Fabric, network: nn.Module, cfg: DictConfig) -> TrainableModel:
    """Set up a discriminator: with a rate of its own, without averaged weights, nothing frozen."""
    rate = cfg.learning_rate if cfg.disc_learning_rate is None else cfg.disc_learning_rate
    wrapped, optimizer = _set_up(fabric, network, cfg, rate)
    return TrainableModel(wrapped, optimizer, prefix="disc_", grad_clip_norm=cfg.grad_clip_norm)


def _set_up(fabric: Fabric, network: nn.Module, cfg: DictConfig, rate: float) -> tuple[Any, Any]:
    network = network.to(memory_format=torch.channels_last)  # convolutions are fastest in it, on CPUs too
    if cfg.sync_batchnorm and fabric.world_size > 1:
        network = synchronize(network, on_gpu=fabric.device.type == "cuda")
    optimizer = build_adam(network, rate, cfg.betas, fabric.strategy.precision.precision)
    wrapped, optimizer = fabric.setup(network, optimizer)
    compile_network(unwrap(wrapped), cfg.compile, fabric.device)
    return wrapped, optimizer


def place_frozen(fabric: Fabric, network: nn.Module) -> nn.Module:
    """Put a network that is not trained on the device, outside the synchronization of processes."""
    return network.requires_grad_(False).to(fabric.device).to(memory_format=torch.channels_last)


def augment(cfg: DictConfig, dataset: BatchDataset, processes: int) -> BatchDataset:
    """Augment the training samples, if configured, from the configured step on; those of validations never."""
    augmentation = Augmentation(cfg.box_jitter, cfg.flip, cfg.color_jitter, cfg.mel_shift)
    if not augmentation:
        return dataset
    first_step = round(cfg.augmentation_start * (cfg.max_steps or 0))
    first_sample = first_step * cfg.grad_accum_steps * processes * cfg.batch_size
    return AugmentedDataset(dataset, augmentation, cfg.seed, first_sample)


def build_loop(
    cfg: DictConfig, fabric: Fabric, step: Step, models: list[TrainableModel], train_set: BatchDataset,
    val_set: WindowDataset, rules: BuildRules, goal: OverfitGoal, generate: Generate | None = None,
) -> Loop:  # fmt: skip
    """Build the loop of a trainer, resumed by the config; with cfg.overfit_batches that of its self-test.

    rules: diagnose the run. goal: of the self-test. generate: runs the generator, for previews.
    """
    if fabric.is_global_zero and not cfg.overfit_batches:
        warn_if_copied(train_set.clips, val_set.clips)
    callbacks: dict[str, Callback] = {}
    manager = _build_manager(cfg, fabric, TrainState(step, RunningMeans(fabric), callbacks), models, train_set)
    validator = _build_validator(cfg, fabric, val_set)
    throughput = Throughput()

    pin = fabric.device.type == "cuda"
    dataset = augment(cfg, train_set, fabric.world_size)

    def train_batches(first: int) -> Iterator[Any]:
        sampler = ResumableSampler(cfg.batch_size, first, fabric.global_rank, fabric.world_size)
        batches = load_batches(dataset, sampler, cfg.batch_size, cfg.num_workers, pin, cfg.prefetch_batches)
        return network_inputs(throughput.time_batches(batches), fabric.device)

    def recent_batches(end: int) -> Iterator[Any]:
        first = max(0, end - count_batches(cfg.batch_size))
        sampler = ResumableSampler(cfg.batch_size, first, fabric.global_rank, fabric.world_size)
        numbers = list(islice(sampler, (end - first) * cfg.batch_size))
        batches = load_batches(dataset, numbers, cfg.batch_size, 0, pin, cfg.prefetch_batches)
        return network_inputs(batches, fabric.device)

    if cfg.overfit_batches:
        return _build_overfit_loop(cfg, goal, fabric, step, manager, train_batches(0))

    cosine_end = None if cfg.lr_schedule == "constant" else cfg.max_steps
    lr_schedule = LRSchedule(models, WarmupCosine(cfg.warmup_steps, cosine_end))
    yaml, gauges = OmegaConf.to_yaml(cfg, resolve=True), (throughput.scalars, lr_schedule.scalars)
    tensorboard = TensorBoard(manager.folder, fabric.is_global_zero, yaml, gauges)
    context = RunContext.from_config(cfg, train_set, val_set, validator.count, fabric.world_size)
    diagnostician = Diagnostician(
        rules(context), cfg.diagnose_after, validator.batches, tensorboard, last_validation(cfg)
    )
    callbacks |= {
        "graceful_exit": GracefulExit(fabric),
        "lr_schedule": lr_schedule,
        "throughput": throughput,  # before the callbacks that log its rates
        "tensorboard": tensorboard,
        "console": Console(cfg.max_steps, throughput, fabric.is_global_zero),
        **_build_previews(cfg, fabric, val_set, validator, tensorboard, generate),
        "diagnosis": diagnostician,
        "divergence": DivergenceMonitor(
            manager, **cfg.health, skips_nonfinite=_has_loss_scaler(fabric), chance_loss=_chance_loss(cfg)
        ),
        "early_stopping": EarlyStopping(monitored_metric(cfg), step.monitorable, **cfg.early_stopping),
    }
    restore_from_config(cfg, manager)
    schedule = _build_schedule(cfg, manager.epoch_samples, diagnostician.evaluation_steps)
    return Loop(
        fabric, step, manager, train_batches, schedule, cfg.batch_size, cfg.grad_accum_steps, validator, callbacks,
        recent_batches,
    )  # fmt: skip


def _build_overfit_loop(
    cfg: DictConfig, goal: OverfitGoal, fabric: Fabric, step: Step, manager: CheckpointManager, batches: Iterator[Any]
) -> Loop:
    """Build the loop of the self-test. It starts from scratch, because trained weights would pass without learning."""
    callbacks = {"overfit": OverfitTest(goal, cfg.overfit_batches, cfg.overfit_max_steps)}
    fixed = fixed_batches(batches, goal, cfg.overfit_batches, repeats=cfg.grad_accum_steps)
    schedule = Schedule(log_interval=cfg.overfit_batches)
    return Loop(
        fabric, step, manager, lambda _: fixed, schedule, cfg.batch_size, cfg.grad_accum_steps,
        callbacks=callbacks,
    )  # fmt: skip


def last_validation(cfg: DictConfig) -> int | None:
    """Return the step of the last validation of a run that ends before diagnose_after; None: it does not."""
    if cfg.max_steps is None or cfg.max_steps >= cfg.diagnose_after:
        return None
    return int(cfg.max_steps - cfg.max_steps % cfg.eval_interval)


def monitored_metric(cfg: DictConfig) -> str:
    """Return the score that selects best.pth: with monitor_metric=auto the sync loss of the second expert, if any."""
    if cfg.monitor_metric != "auto":
        return str(cfg.monitor_metric)
    return "sync" if cfg.second_syncnet_checkpoint_path is None else SECOND_SYNC


def _build_manager(
    cfg: DictConfig, fabric: Fabric, state: TrainState, models: list[TrainableModel], train_set: BatchDataset
) -> CheckpointManager:
    is_scheduled = cfg.lr_schedule != "constant" or cfg.warmup_steps > 0  # a schedule starts from the configured rate
    return CheckpointManager(
        fabric,
        state,
        models,
        Path(cfg.checkpoint_dir),
        keep_last_n=cfg.keep_last_n,
        epoch_samples=len(train_set.clips),  # an epoch is one sample per clip, as upstream
        keep_lr=cfg.compat.resume_lr_from_checkpoint and not is_scheduled,
        framing=dataset_framing(Path(cfg.data_root), train_set.clips),
    )


def _build_validator(cfg: DictConfig, fabric: Fabric, val_set: WindowDataset) -> Validator:
    count = None if cfg.eval_windows == "all" else cfg.eval_windows
    redraw = cfg.compat.random_validation
    validator = Validator(fabric, val_set, cfg.batch_size, count, cfg.prefetch_batches, redraw=redraw)
    validator.check(monitored_metric(cfg))
    return validator


def _build_previews(
    cfg: DictConfig, fabric: Fabric, val_set: WindowDataset, validator: Validator, tensorboard: TensorBoard,
    generate: Generate | None,
) -> dict[str, Callback]:  # fmt: skip
    if generate is None or not fabric.is_global_zero:
        return {}
    grid = SampleGrid(tensorboard, validator.batches, generate)
    preview = build_preview(val_set, cfg.preview_seconds, Path(cfg.checkpoint_dir), generate, fabric.device)
    return {"grid": grid, "preview": preview} if preview else {"grid": grid}


def _build_schedule(cfg: DictConfig, epoch_samples: int, diagnosis_steps: set[int]) -> Schedule:
    return Schedule(
        max_steps=cfg.max_steps,
        max_epochs=cfg.nepochs,
        epoch_samples=epoch_samples,
        eval_interval=cfg.eval_interval,
        checkpoint_interval=cfg.checkpoint_interval,
        log_interval=cfg.log_interval,
        validate_first=cfg.validate_first or cfg.reset_optimizer,  # score the weights of another run unchanged
        save_first=cfg.compat.save_first,
        diagnosis_steps=diagnosis_steps,
    )


def _has_loss_scaler(fabric: Fabric) -> bool:
    return getattr(fabric.strategy.precision, "scaler", None) is not None


def _chance_loss(cfg: DictConfig) -> float:
    """Return the loss of a discriminator that cannot distinguish frames, also for trainers without one."""
    return ADVERSARIAL_LOSSES[cfg.get("disc_loss", "bce")].chance


def restore_from_config(cfg: DictConfig, manager: CheckpointManager) -> None:
    """Resume from checkpoint_dir if cfg.resume says so, else load the configured files, else start at step 0."""
    generator, *discriminators = manager.models
    is_first = manager.fabric.is_global_zero
    if not (cfg.resume and manager.resume()):
        if cfg.checkpoint_path:
            manager.restore(generator, cfg.checkpoint_path, reset_optimizer=cfg.reset_optimizer)
        elif not cfg.resume and is_first and list_numbered(manager.folder, generator.prefix):
            log.warning("%s: has checkpoints of another run; add resume=true to continue it", manager.folder)
        for discriminator in discriminators:
            if cfg.disc_checkpoint_path:
                manager.restore(discriminator, cfg.disc_checkpoint_path, reset_optimizer=cfg.reset_optimizer)
            elif cfg.checkpoint_path:
                if is_first:
                    log.warning("the discriminator starts untrained; add disc_checkpoint_path=FILE to continue one")
                manager.state.train_step.load_state_dict({"disc_first_step": None})
    if not cfg.compat.resume_sync_weight:  # upstream switches it off until the next validation
        manager.state.train_step.load_state_dict({"sync_on": False})
