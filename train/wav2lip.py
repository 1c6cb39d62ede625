"""Train the generator: python -m train.wav2lip data_root=DIR checkpoint_dir=DIR syncnet_checkpoint_path=FILE"""

from __future__ import annotations

from omegaconf import DictConfig

from configs.entry import run
from train import generator
from train.overfit import overfit
from train.processes import said_once
from train.setup import build_fabric


def train(cfg: DictConfig) -> int:
    """Build the run that configs/wav2lip.yaml describes, and run it."""
    loop = generator.build(cfg, build_fabric(cfg))
    return overfit(cfg, loop, generator.GOAL) if cfg.overfit else loop.run()


def main() -> None:
    """Entry point."""
    run(said_once(train), "wav2lip")


if __name__ == "__main__":
    main()
