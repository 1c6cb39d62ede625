"""What the two generator trainers share: they differ by the critic alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import Tensor

from models import SyncNet
from train.adversary import Adversary
from train.data import ClipWindows, GeneratorInputs, GeneratorSamples, Windows
from train.generator_step import GeneratorStep
from train.loop import Loop
from train.monitor import generator_grid
from train.preview import preview_of
from train.setup import build_loop, frozen, read_windows, trained
from train.trained import Trained, unwrapped
from wav2lip.checkpoints import load_network


def build(cfg: DictConfig, fabric: Fabric, critic: Trained | None = None) -> Loop:
    """The loop that trains the generator, against a critic if there is one."""
    windows = partial(read_windows, cfg, samples=GeneratorSamples(), windows_of=ClipWindows.for_generator)
    expert = frozen(fabric, load_network(cfg.syncnet_checkpoint_path, SyncNet))
    generator = trained(fabric, instantiate(cfg.model), cfg)
    step = GeneratorStep(
        fabric,
        generator.network,
        expert,
        sync_weight=cfg.syncnet_wt,
        sync_weight_on=cfg.syncnet_wt_on,
        sync_threshold=cfg.sync_threshold,
        adversary=Adversary(fabric, critic.network) if critic else None,
        adversary_weight=cfg.disc_wt if critic else 0.0,
        expert_training_mode=cfg.compat.expert_training_mode,
    )

    @torch.no_grad()
    def paint(batch: GeneratorInputs) -> Tensor:
        network = unwrapped(generator.network).eval()  # asked in one process alone, so past what joins them
        with fabric.autocast():
            return network(batch.frame_mels, batch.faces)

    def pictures(batch: GeneratorInputs) -> Tensor:
        return generator_grid(paint(batch), batch)

    networks = [generator, critic] if critic else [generator]
    val = windows("val")
    loop = build_loop(cfg, fabric, step, networks, windows("train"), val, pictures)
    if fabric.is_global_zero:
        assert isinstance(val, Windows)  # only training data is mixed
        loop.preview = preview_of(val, cfg.preview_seconds, Path(cfg.checkpoint_dir), paint, fabric.device)
    return loop
