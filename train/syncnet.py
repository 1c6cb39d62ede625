"""Train the lip-sync expert: python -m train.syncnet data_root=DIR checkpoint_dir=DIR"""

from __future__ import annotations

from functools import partial

from hydra.utils import instantiate
from omegaconf import DictConfig

from configs.entry import run
from train.data import ClipWindows, SyncNetSamples
from train.overfit import Goal, overfit
from train.processes import said_once
from train.setup import build_fabric, build_loop, read_training, read_windows, trained
from train.syncnet_step import SyncNetStep
from train.syncnet_verdicts import SyncNetRules
from wav2lip.errors import InputError

# Cross-entropy; a constant guess has 0.69. Batches of one kind of pair alone would be learned by a constant.
GOAL = Goal("loss", 0.2, lambda batch: 0 < batch.label.mean() < 1)


def train(cfg: DictConfig) -> int:
    """Build the run that configs/syncnet.yaml describes, and run it."""
    if cfg.batch_size < 2:
        raise InputError("batch_size=1: the expert's batch-norm needs at least 2 samples")
    fabric = build_fabric(cfg)
    samples = SyncNetSamples(cfg.compat.min_shift)
    windows_of = partial(ClipWindows.for_syncnet, min_shift=cfg.compat.min_shift)
    train, val = read_training(cfg, fabric, samples, windows_of), read_windows(cfg, fabric, "val", samples, windows_of)
    expert = trained(fabric, instantiate(cfg.model), cfg)
    step = SyncNetStep(fabric, expert.network)
    loop = build_loop(cfg, fabric, step, [expert], train, val, SyncNetRules)
    return overfit(cfg, loop, GOAL) if cfg.overfit else loop.run()


def main() -> None:
    """Entry point."""
    run(said_once(train), "syncnet")


if __name__ == "__main__":
    main()
