"""Settings that cannot be trained with, each refused in one sentence before any work is done."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from wav2lip.errors import InputError


def check(cfg: DictConfig, processes: int) -> None:
    """InputError for settings that cannot be trained with, before any work is done."""
    counts = ("batch_size", "accumulate", "eval_interval", "checkpoint_interval", "log_interval", "prefetch")
    for key in (*counts, "overfit_steps"):
        if cfg[key] < 1:
            raise InputError(f"{key}={cfg[key]}: give a whole number from 1 up")
    if cfg.compat.expert_training_mode and cfg.batch_size == 1:
        raise InputError(
            "batch_size=1: an expert in training mode normalises over a batch; give 2 or more, or "
            "compat.expert_training_mode=false"
        )
    if cfg.eval_windows != "all" and cfg.eval_windows < processes:
        raise InputError(
            f"eval_windows={cfg.eval_windows}: give at least one for each of {processes} processes, or all"
        )
    if cfg.reset_optimizer and not cfg.checkpoint_path:
        raise InputError(
            "reset_optimizer=true (as recipe=finetune has it) begins from weights; add checkpoint_path=FILE"
        )
    if cfg.lr_schedule not in ("auto", "constant", "cosine"):
        raise InputError(f"lr_schedule={cfg.lr_schedule}: there is no such schedule; choose auto, constant or cosine")
    if cfg.lr_schedule == "cosine" and cfg.max_steps is None:
        raise InputError("lr_schedule=cosine falls to 0 at max_steps, which is not given; add max_steps=...")
    if not 0 < cfg.data_memory <= 1:
        raise InputError(f"data_memory={cfg.data_memory}: is no share; give a number above 0 and up to 1")
    if not 0 < cfg.mix_share < 1:
        raise InputError(f"mix_share={cfg.mix_share}: is not between 0 and 1; mix_root=null mixes nothing in")
    if cfg.ema is not None and not 0 < cfg.ema < 1:
        raise InputError(f"ema={cfg.ema}: is not between 0 and 1; give for instance ema=0.999, or ema=null for none")
    if cfg.clip is not None and cfg.clip <= 0:
        raise InputError(f"clip={cfg.clip}: is no norm of gradients; give for instance clip=1.0, or clip=null for none")
    if cfg.keep is not None and cfg.keep < 1:
        raise InputError(f"keep={cfg.keep}: give how many numbered checkpoints stay, from 1 up, or keep=null for all")
    if cfg.judge_after < 0:
        raise InputError(f"judge_after={cfg.judge_after}: give a number of steps, or 0 to judge never")
    if cfg.overfit < 0:
        raise InputError(f"overfit={cfg.overfit}: give a number of batches, or 0 for no self-test")
    for key in ("warmup", "seed", "sync_ramp", "disc_warmup"):
        if cfg.get(key, 0) < 0:
            raise InputError(f"{key}={cfg[key]}: give a whole number from 0 up")
    if cfg.num_workers != "auto" and cfg.num_workers < 0:
        raise InputError(f"num_workers={cfg.num_workers}: give a number of processes, 0 for none, or auto")
    if cfg.learning_rate < 0:
        raise InputError(f"learning_rate={cfg.learning_rate}: is below 0; give for instance learning_rate=1e-4")
    if len(cfg.betas) != 2 or not all(0 <= beta < 1 for beta in cfg.betas):
        raise InputError(f"betas={list(cfg.betas)}: Adam takes two from 0 to below 1, for instance betas=[0.9,0.999]")
    if cfg.get("mouth_weight", 1) <= 0:
        raise InputError(f"mouth_weight={cfg.mouth_weight}: give a number above 0; 1 weighs all pixels alike")
    folder = Path(cfg.checkpoint_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another checkpoint_dir") from error
