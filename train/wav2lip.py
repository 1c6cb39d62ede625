"""Train the generator: python -m train.wav2lip data_root=DIR checkpoint_dir=DIR syncnet_checkpoint_path=FILE"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from configs import cli
from train.checkpoint.files import lock_folder
from train.distributed import distributed_main
from train.generator_setup import build_generator_run
from train.setup import build_fabric


def run(cfg: DictConfig) -> int:
    """Build the run that configs/wav2lip.yaml describes, and train; return the exit code."""
    fabric = build_fabric(cfg)
    with lock_folder(fabric, Path(cfg.checkpoint_dir)):
        return build_generator_run(cfg, fabric).run()


def main() -> None:
    """Entry point."""
    cli.run(distributed_main(run), "wav2lip")


if __name__ == "__main__":
    main()
