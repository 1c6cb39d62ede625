"""Build the run of the generator, with or without a discriminator."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from train.callbacks.diagnosis.generator_rules import GeneratorRules
from train.callbacks.overfit import OverfitGoal
from train.data.index import WindowIndex
from train.data.samples import GeneratorInputs, GeneratorSamples
from train.loop import Loop
from train.losses.adversarial import ADVERSARIAL_LOSSES
from train.losses.distillation import load_teacher
from train.losses.perceptual import VGGFeatures
from train.losses.weights import LossWeights, PiecewiseLinear
from train.setup import build_loop, build_trainable, monitored_metric, open_split, open_training_set, place_frozen
from train.steps.adversary import Adversary
from train.steps.generator import GeneratorStep
from train.sync_expert import load_expert
from train.trainable import TrainableModel, unwrap
from train.validation.image_quality import QualityNetworks
from wav2lip.dataset.framing import dataset_framing
from wav2lip.errors import InputError
from wav2lip.faces.framing import FaceFraming
from wav2lip.hashing import hash_checkpoint

WEIGHT_KEYS = ("syncnet_wt", "syncnet_wt_on", "disc_wt", "vgg_wt", "teacher_wt", "feature_matching_wt")
QUALITY_KEYS = ("lpips_backbone", "lpips_weights", "fid_weights", "fid_network")

# The full-size network starts at about 0.24; the best flat color per image has 0.19, the mean of all images 0.10.
OVERFIT_GOAL = OverfitGoal("l1", 0.08)


def build_generator_run(cfg: DictConfig, fabric: Fabric, discriminator: TrainableModel | None = None) -> Loop:
    """Build the loop that trains the generator, against a discriminator if there is one."""
    samples, build_index = GeneratorSamples(), WindowIndex.for_generator
    train_set = open_training_set(cfg, fabric, samples, build_index)
    val_set = open_split(cfg, fabric, "val", samples, build_index)
    expert = place_frozen(fabric, load_expert(cfg.syncnet_checkpoint_path, cfg.model.resolution))
    quality_networks = QualityNetworks.from_files(fabric.device, **{key: cfg[key] for key in QUALITY_KEYS})
    quality_networks.check(monitored_metric(cfg))
    generator = build_trainable(fabric, instantiate(cfg.model), cfg)
    second_expert = load_second_expert(cfg, fabric)  # last, so that it changes no random weight
    teacher = load_frozen_teacher(cfg, fabric, dataset_framing(Path(cfg.data_root), train_set.clips))
    step = GeneratorStep(
        fabric,
        generator.network,
        expert,
        build_loss_weights(cfg),
        adversary=build_adversary(cfg, fabric, discriminator.network) if discriminator else None,
        disc_warmup_steps=cfg.disc_warmup_steps if discriminator and not cfg.overfit_batches else 0,
        vgg=load_vgg(cfg, fabric),
        mouth_weight=cfg.mouth_weight,
        frames_without_sync=cfg.frames_without_sync,
        sync_windows=cfg.sync_windows,
        expert_training_mode=cfg.compat.expert_training_mode,
        quality_networks=quality_networks,
        second_expert=second_expert,
        teacher=teacher,
        teacher_attention=cfg.teacher_attention,
    )
    generator = replace(generator, lr_start_step=step.generator_first_step)

    @torch.no_grad()
    def generate(batch: GeneratorInputs) -> Tensor:
        network = unwrap(generator.network).eval()  # runs in one process, so outside the synchronizing wrapper
        with fabric.autocast():
            return network(batch.frame_mels, batch.faces)

    rules = partial(
        GeneratorRules, fabric=fabric, expert=expert, expert_path=cfg.syncnet_checkpoint_path,
        sync_threshold=cfg.sync_threshold, sync_weight=read_weight(cfg, "syncnet_wt_on").maximum,
    )  # fmt: skip
    models = [generator, discriminator] if discriminator else [generator]
    return build_loop(cfg, fabric, step, models, train_set, val_set, rules, OVERFIT_GOAL, generate)


def load_second_expert(cfg: DictConfig, fabric: Fabric) -> nn.Module | None:
    """Load the expert that scores the generator without training it, if there is one.

    Raises: InputError if it is the training expert itself.
    """
    path = cfg.second_syncnet_checkpoint_path
    if path is None:
        return None
    if hash_checkpoint(path) == hash_checkpoint(cfg.syncnet_checkpoint_path):
        raise InputError(
            f"second_syncnet_checkpoint_path={path}: must be another network than syncnet_checkpoint_path; train one "
            "with another seed and width"
        )
    return place_frozen(fabric, load_expert(path, cfg.model.resolution))


def build_adversary(cfg: DictConfig, fabric: Fabric, discriminator: nn.Module) -> Adversary:
    """Set up adversarial training with a discriminator, as configured."""
    return Adversary(
        fabric,
        discriminator,
        ADVERSARIAL_LOSSES[cfg.disc_loss],
        r1_wt=cfg.r1_wt,
        r1_interval=cfg.r1_interval,
        matches_features=read_weight(cfg, "feature_matching_wt").maximum > 0,
    )


def build_loss_weights(cfg: DictConfig) -> LossWeights:
    """Read the weights of all loss terms."""
    weights = {key: read_weight(cfg, key) for key in WEIGHT_KEYS if key in cfg}
    return LossWeights(
        syncnet=weights["syncnet_wt"],
        syncnet_on=weights["syncnet_wt_on"],
        sync_threshold=cfg.sync_threshold,
        sync_ramp_steps=cfg.sync_ramp_steps,
        sync_min_step=round(cfg.sync_start * (cfg.max_steps or 0)),
        disc=weights.get("disc_wt"),
        vgg=weights["vgg_wt"],
        teacher=weights["teacher_wt"],
        feature_matching=weights.get("feature_matching_wt"),
    )


def load_vgg(cfg: DictConfig, fabric: Fabric) -> VGGFeatures | None:
    """Load the network of the perceptual loss, if that has a weight."""
    if not _has_weight(cfg, "vgg_wt", "vgg_weights", "vgg_wt=0.02 vgg_weights=vgg19-dcbb9e9d.pth"):
        return None
    network = VGGFeatures.from_file(cfg.vgg_weights, cfg.vgg_layers)
    return network.to(fabric.device).to(memory_format=torch.channels_last)


def load_frozen_teacher(cfg: DictConfig, fabric: Fabric, framing: FaceFraming) -> nn.Module | None:
    """Load the generator whose frames the trained one imitates, if it has a weight. framing: of the data."""
    example = "recipe=distill teacher_checkpoint_path=wav2lip.pth model.width=0.25"
    if not _has_weight(cfg, "teacher_wt", "teacher_checkpoint_path", example):
        return None
    return place_frozen(fabric, load_teacher(cfg.teacher_checkpoint_path, cfg.model.resolution, framing))


def _has_weight(cfg: DictConfig, weight: str, file: str, example: str) -> bool:
    """Return True if a loss with a network of its own has a weight. Raises: InputError for a weight or file alone."""
    has_weight = read_weight(cfg, weight).maximum > 0
    if has_weight != (cfg[file] is not None):
        raise InputError(f"{weight}={cfg[weight]}, {file}={cfg[file]}: must be set together; for example {example}")
    return has_weight


def read_weight(cfg: DictConfig, key: str) -> PiecewiseLinear:
    """Read a weight: a number or a list of [step, weight]."""
    value = cfg[key]
    return PiecewiseLinear.from_config(key, OmegaConf.to_object(value) if OmegaConf.is_config(value) else value)  # type: ignore[arg-type]
