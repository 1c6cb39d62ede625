"""Validation of a trainer's config before any work: the schema, the number of processes and the checkpoint folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from configs.schema import SCHEMAS
from configs.type_checks import parse
from wav2lip.errors import InputError


def validate(cfg: DictConfig, processes: int) -> None:
    """Raise InputError for an invalid config; create the checkpoint folder."""
    trainer = "wav2lip_gan" if "disc" in cfg else "wav2lip" if "syncnet_wt" in cfg else "syncnet"
    parse(cfg, SCHEMAS[trainer])
    if cfg.eval_windows != "all" and cfg.eval_windows < processes:
        raise InputError(
            f"eval_windows={cfg.eval_windows}: must be at least {processes}, one for each process; or set "
            "eval_windows=all"
        )
    folder = Path(cfg.checkpoint_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"checkpoint_dir={folder}: must be writable ({error.strerror}); choose another folder"
        ) from error
