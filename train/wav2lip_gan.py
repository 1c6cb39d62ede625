"""Train the generator against a discriminator: python -m train.wav2lip_gan data_root=DIR checkpoint_dir=DIR ..."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from configs import cli
from train.checkpoint.files import lock_folder
from train.distributed import distributed_main
from train.generator_setup import build_generator_run
from train.setup import build_discriminator, build_fabric


def run(cfg: DictConfig) -> int:
    """Build the run that configs/wav2lip_gan.yaml describes, and train; return the exit code."""
    fabric = build_fabric(cfg)
    with lock_folder(fabric, Path(cfg.checkpoint_dir)):
        discriminator = build_discriminator(fabric, instantiate(cfg.disc), cfg)
        return build_generator_run(cfg, fabric, discriminator).run()


def main() -> None:
    """Entry point."""
    cli.run(distributed_main(run), "wav2lip_gan")


if __name__ == "__main__":
    main()
