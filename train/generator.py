"""What the two generator trainers share: they differ by the critic alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from train.adversary import Adversary
from train.data.samples import ClipWindows, GeneratorInputs, GeneratorSamples
from train.expert import expert_for
from train.features import Features
from train.generator_step import GeneratorStep
from train.loop import Loop
from train.loss_weights import Line, LossWeights
from train.overfit import Goal
from train.scores.seen import Viewers
from train.setup import build_loop, frozen, read_training, read_windows, trained
from train.trained import Trained, unwrapped
from train.verdicts.generator_rules import GeneratorRules
from train.watching.monitor import generator_grid
from train.watching.preview import preview_of
from wav2lip.errors import InputError

WEIGHTS = ("syncnet_wt", "syncnet_wt_on", "disc_wt", "perceptual_wt")  # keys of numbers or lists of [step, weight]
VIEWERS = ("lpips_backbone", "lpips_weights", "fid_weights", "fid_network")  # keys of files

# The full-size network starts at about 0.24; one flat colour for each picture has 0.19, the mean of all pictures 0.10.
GOAL = Goal("l1", 0.08)


def build(cfg: DictConfig, fabric: Fabric, critic: Trained | None = None) -> Loop:
    """The loop that trains the generator, against a critic if there is one."""
    samples, windows_of = GeneratorSamples(), ClipWindows.for_generator
    train, val = read_training(cfg, fabric, samples, windows_of), read_windows(cfg, fabric, "val", samples, windows_of)
    expert = frozen(fabric, expert_for(cfg.syncnet_checkpoint_path, cfg.model.resolution))
    viewers = Viewers.of(fabric.device, **{key: cfg[key] for key in VIEWERS})
    viewers.check(cfg.watch)
    alone = cfg.disc_warmup if critic and not cfg.overfit else 0  # steps in which the critic learns alone
    generator = trained(fabric, instantiate(cfg.model), cfg)
    step = GeneratorStep(
        fabric,
        generator.network,
        expert,
        loss_weights(cfg),
        adversary=Adversary(fabric, critic.network) if critic else None,
        critic_alone=alone,
        features=features(cfg, fabric),
        mouth_weight=cfg.mouth_weight,
        expert_training_mode=cfg.compat.expert_training_mode,
        viewers=viewers,
    )
    generator = replace(generator, begins=step.generator_begins)

    @torch.no_grad()
    def paint(batch: GeneratorInputs) -> Tensor:
        network = unwrapped(generator.network).eval()  # asked in one process alone, so past what joins them
        with fabric.autocast():
            return network(batch.frame_mels, batch.faces)

    def pictures(batch: GeneratorInputs) -> Tensor:
        return generator_grid(paint(batch), batch)

    networks = [generator, critic] if critic else [generator]
    rules = partial(
        GeneratorRules, fabric=fabric, expert=expert, expert_path=cfg.syncnet_checkpoint_path,
        sync_threshold=cfg.sync_threshold, sync_weight=line(cfg, "syncnet_wt_on").largest,
    )  # fmt: skip
    loop = build_loop(cfg, fabric, step, networks, train, val, rules, pictures)
    if fabric.is_global_zero:
        loop.preview = preview_of(val, cfg.preview_seconds, Path(cfg.checkpoint_dir), paint, fabric.device)
    return loop


def loss_weights(cfg: DictConfig) -> LossWeights:
    """The weights of the loss as the config says, checked."""
    lines = {key: line(cfg, key) for key in WEIGHTS if key in cfg}
    return LossWeights(
        sync=lines["syncnet_wt"],
        sync_on=lines["syncnet_wt_on"],
        sync_threshold=cfg.sync_threshold,
        sync_ramp=cfg.sync_ramp,
        critic=lines.get("disc_wt"),
        features=lines["perceptual_wt"],
    )


def features(cfg: DictConfig, fabric: Fabric) -> Features | None:
    """The network of the perceptual term, if there is to be one."""
    counts = line(cfg, "perceptual_wt").largest > 0
    if counts != (cfg.perceptual_weights is not None):
        raise InputError(
            f"perceptual_wt={cfg.perceptual_wt}, perceptual_weights={cfg.perceptual_weights}: one is nothing without "
            "the other; give for instance perceptual_wt=0.02 perceptual_weights=vgg19-dcbb9e9d.pth, or neither"
        )
    if not counts:
        return None
    network = Features.from_file(cfg.perceptual_weights, cfg.perceptual_layers)
    return network.to(fabric.device).to(memory_format=torch.channels_last)


def line(cfg: DictConfig, key: str) -> Line:
    """A weight as the config says: a number or a list of [step, weight]."""
    value = cfg[key]
    return Line.of(key, OmegaConf.to_object(value) if OmegaConf.is_config(value) else value)  # type: ignore[arg-type]
