"""From a config to the judge of its training."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from train.data.mixture import Mixture
from train.data.samples import SampleSet, Windows
from train.verdicts.amount import Amount
from train.verdicts.commands import Commands
from train.verdicts.judge import Judge, Rules
from train.verdicts.rules import Given

RulesOf = Callable[[Given], Rules]


def build_judge(
    cfg: DictConfig, rules: RulesOf, train: SampleSet, val: Windows, held_out: int, processes: int
) -> Judge:
    """The judge of a training on these samples.

    held_out: windows in a validation.
    rules: SyncNetRules or GeneratorRules, given what is known of the training.
    """
    roots = {Path(root) for root in (cfg.data_root, cfg.mix_root) if root is not None}
    given = Given(
        amount=Amount.of(parts(train), val, roots, held_out),
        commands=commands_of(cfg),
        batch_size=cfg.batch_size * cfg.accumulate * processes,
        learning_rate=cfg.learning_rate,
    )
    return Judge(rules(given), cfg.judge_after)


def parts(samples: SampleSet) -> list[Windows]:
    """The windows that samples are drawn from, one or two data sets of them."""
    if isinstance(samples, Mixture):
        return parts(samples.own) + parts(samples.general)
    windows: Any = samples
    return [windows]


def commands_of(cfg: DictConfig) -> Commands:
    """What was typed to start this training; where nobody typed, as in a test, the folders alone."""
    trainer = "wav2lip_gan" if "disc" in cfg else "wav2lip" if "syncnet_checkpoint_path" in cfg else "syncnet"
    folders = [f"data_root={cfg.data_root}", f"checkpoint_dir={cfg.checkpoint_dir}"]
    typed = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else folders
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun
    return Commands(f"train.{trainer}", typed, cfg.data_root, cfg.checkpoint_dir, cfg.accumulate, processes)
