"""Train the lip-sync expert: python -m train.syncnet data_root=DIR checkpoint_dir=DIR"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning_fabric import Fabric
from omegaconf import DictConfig

from configs import cli
from train.callbacks.diagnosis.syncnet_rules import SyncNetRules
from train.callbacks.overfit import OverfitGoal
from train.checkpoint.files import lock_folder
from train.data.index import WindowIndex
from train.data.samples import SyncNetInputs, SyncNetSamples
from train.distributed import distributed_main
from train.loop import Loop
from train.losses.contrastive import PairwiseSimilarity
from train.setup import build_fabric, build_loop, build_trainable, open_split, open_training_set
from train.steps.syncnet import Objective, SyncNetStep

OVERFIT_GOAL_LOSS = 0.2  # cross-entropy; a constant guess has 0.69


def run(cfg: DictConfig) -> int:
    """Build the run that configs/syncnet.yaml describes, and train; return the exit code."""
    fabric = build_fabric(cfg)
    with lock_folder(fabric, Path(cfg.checkpoint_dir)):
        return _build_loop(cfg, fabric).run()


def _build_loop(cfg: DictConfig, fabric: Fabric) -> Loop:
    min_offset = cfg.compat.min_negative_offset
    build_index = partial(WindowIndex.for_syncnet, min_negative_offset=min_offset)
    train_set = open_training_set(cfg, fabric, SyncNetSamples(min_offset, cfg.windows_per_clip), build_index)
    val_set = open_split(cfg, fabric, "val", SyncNetSamples(min_offset), build_index)
    expert = build_trainable(fabric, instantiate(cfg.model), cfg)
    objective = Objective(cfg.windows_per_clip > 1, min_offset, cfg.infonce_wt, cfg.infonce_temperature)
    step = SyncNetStep(fabric, expert.network, objective)
    goal = OverfitGoal("loss", OVERFIT_GOAL_LOSS, partial(has_both_labels, objective=objective))
    return build_loop(cfg, fabric, step, [expert], train_set, val_set, SyncNetRules, goal)


def has_both_labels(batch: SyncNetInputs, objective: Objective) -> bool:
    """Return whether a batch has matching and mismatched pairs; a constant would learn one kind alone."""
    if not objective.all_pairs:
        return bool(0 < batch.label.mean() < 1)
    ones = torch.ones(len(batch.audio_position), 1)
    positions = batch.audio_position.cpu(), batch.face_position.cpu()
    pairs = PairwiseSimilarity.from_embeddings(ones, ones, *positions, objective.min_negative_offset)
    return bool(pairs.negative.any())


def main() -> None:
    """Entry point."""
    cli.run(distributed_main(run), "syncnet")


if __name__ == "__main__":
    main()
