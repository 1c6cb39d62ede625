"""Train the lip-sync expert: python -m train.syncnet data_root=DIR checkpoint_dir=DIR"""

from __future__ import annotations

from functools import partial

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from configs.entry import run
from train.contrast import Pairs
from train.data.samples import ClipWindows, SyncNetInputs, SyncNetSamples
from train.overfit import Goal, overfit
from train.processes import said_once
from train.setup import build_fabric, build_loop, read_training, read_windows, trained
from train.syncnet_step import Objective, SyncNetStep
from train.verdicts.syncnet_rules import SyncNetRules
from wav2lip.errors import InputError

GOAL_LOSS = 0.2  # cross-entropy for the self-test; a constant guess has 0.69


def train(cfg: DictConfig) -> int:
    """Build the run that configs/syncnet.yaml describes, and run it."""
    if cfg.batch_size < 2:
        raise InputError("batch_size=1: the expert's batch-norm needs at least 2 samples")
    together = cfg.windows_per_clip
    if together < 1:
        raise InputError(f"windows_per_clip={together}: give a whole number from 1 up")
    if cfg.contrast_wt and together == 1:
        raise InputError(f"contrast_wt={cfg.contrast_wt}: needs several windows of a clip; add windows_per_clip=8")
    if cfg.temperature <= 0:
        raise InputError(f"temperature={cfg.temperature}: is not above 0; give for instance temperature=0.07")
    fabric = build_fabric(cfg)
    shift = cfg.compat.min_shift
    windows_of = partial(ClipWindows.for_syncnet, min_shift=shift)
    train = read_training(cfg, fabric, SyncNetSamples(shift, together), windows_of)
    val = read_windows(cfg, fabric, "val", SyncNetSamples(shift), windows_of)
    expert = trained(fabric, instantiate(cfg.model), cfg)
    objective = Objective(together > 1, shift, cfg.contrast_wt, cfg.temperature)
    step = SyncNetStep(fabric, expert.network, objective)
    loop = build_loop(cfg, fabric, step, [expert], train, val, SyncNetRules)
    goal = Goal("loss", GOAL_LOSS, partial(has_both_kinds, objective=objective))
    return overfit(cfg, loop, goal) if cfg.overfit else loop.run()


def has_both_kinds(batch: SyncNetInputs, objective: Objective) -> bool:
    """Whether a batch has right and wrong pairs; one kind alone would be learned by a constant."""
    if not objective.all_pairs:
        return bool(0 < batch.label.mean() < 1)
    ones = torch.ones(len(batch.heard), 1)
    return bool(Pairs.of(ones, ones, batch.heard.cpu(), batch.shown.cpu(), objective.min_shift).wrong.any())


def main() -> None:
    """Entry point."""
    run(said_once(train), "syncnet")


if __name__ == "__main__":
    main()
