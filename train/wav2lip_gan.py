"""Train the generator against a critic: python -m train.wav2lip_gan data_root=DIR checkpoint_dir=DIR ..."""

from __future__ import annotations

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from configs.entry import run
from train import generator
from train.overfit import overfit
from train.processes import said_once
from train.resuming import take_up
from train.setup import build_fabric, trained

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> int:
    """Build the run that configs/wav2lip_gan.yaml describes, and run it."""
    fabric = build_fabric(cfg)
    critic = trained(fabric, instantiate(cfg.disc), cfg, prefix="disc_", averaged=False, rate=cfg.disc_learning_rate)
    loop = generator.build(cfg, fabric, critic)
    if loop.resumed or cfg.overfit:
        pass  # the critic goes on with the generator; a self-test begins from nothing
    elif cfg.disc_checkpoint_path:
        take_up(cfg, loop, cfg.disc_checkpoint_path, critic)
    elif cfg.checkpoint_path:
        log.warning("the critic starts untrained: no disc_checkpoint_path is given beside checkpoint_path")
        loop.step.load_state({"critic_began": None})
    return overfit(cfg, loop, generator.GOAL) if cfg.overfit else loop.run()


def main() -> None:
    """Entry point."""
    run(said_once(train), "wav2lip_gan")


if __name__ == "__main__":
    main()
