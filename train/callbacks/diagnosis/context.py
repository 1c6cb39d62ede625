"""Facts about a run that a diagnosis uses: the amount of data, and commands to suggest."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from train.data.mixture import ReplayMixture
from train.data.samples import BatchDataset, WindowDataset
from wav2lip.audio.windows import FPS, WINDOW_FRAMES
from wav2lip.reporting.durations import format_duration

UNQUOTED = re.compile(r"[\w./~-]+", re.ASCII)  # values that Hydra accepts without quotes
START_KEYS = ("resume", "checkpoint_path", "disc_checkpoint_path", "reset_optimizer")


@dataclass(frozen=True)
class DataVolume:
    """Amount of data in the training and validation lists."""

    seconds: float  # face crops to train on
    clips: int
    groups: int  # folders of these clips: speakers, or recordings
    independent_windows: int  # upper bound of the validation windows without common frames

    def __str__(self) -> str:
        clips, folders = (f"{n} {noun}{'s' * (n != 1)}" for n, noun in ((self.clips, "clip"), (self.groups, "folder")))
        return f"{format_duration(self.seconds)} in {clips} of {folders}"


def count_groups(clips: Iterable[Path], roots: Iterable[Path]) -> int:
    """Count the folders of clips; a clip directly in a data root is a group of its own."""
    roots = set(roots)
    return len({clip if clip.parent in roots else clip.parent for clip in clips})


@dataclass(frozen=True)
class Commands:
    """Suggested commands, ready to paste: the run's own with other settings, and those that examine the data."""

    module: str  # train.syncnet, train.wav2lip or train.wav2lip_gan
    overrides: Sequence[str]  # KEY=VALUE from the command line
    data_root: str
    checkpoint_dir: str
    grad_accum_steps: int = 1
    processes: int = 1  # started by torchrun on this machine

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Commands:
        """Read the command line of the run; without one, as in a test, only the folders."""
        trainer = "wav2lip_gan" if "disc" in cfg else "wav2lip" if "syncnet_checkpoint_path" in cfg else "syncnet"
        folders = [f"data_root={cfg.data_root}", f"checkpoint_dir={cfg.checkpoint_dir}"]
        overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else folders
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun
        return cls(f"train.{trainer}", overrides, cfg.data_root, cfg.checkpoint_dir, cfg.grad_accum_steps, processes)

    def rerun(self, *changes: str, resume: bool = False) -> str:
        """Return the run's command with changed KEY=VALUE; resume: from the newest checkpoint."""
        changes = (*changes, "resume=true") if resume else changes
        keys = {change.partition("=")[0] for change in changes}
        unchanged = [override for override in self.overrides if override.partition("=")[0] not in keys]
        start = ["python"] if self.processes == 1 else ["torchrun", f"--nproc_per_node={self.processes}"]
        return shlex.join([*start, "-m", self.module, *unchanged, *changes])

    def sets(self, *keys: str) -> bool:
        """Return True if the run's command sets one of the keys."""
        return any(override.partition("=")[0] in keys for override in self.overrides)

    def overfit_test(self) -> str:
        """Return the command of the overfit self-test, for which one process is enough."""
        overrides = [o for o in self.overrides if o.partition("=")[0] not in START_KEYS and o != "recipe=finetune"]
        return replace(self, overrides=overrides, processes=1).rerun("overfit_batches=4")

    def doctor(self) -> str:
        """Return the command that examines the data."""
        return shlex.join(["python", "-m", "preprocess.doctor", self.data_root])

    def sync(self) -> str:
        """Return the command that corrects audio offsets and drops clips out of sync."""
        return shlex.join(["python", "-m", "preprocess.sync", quote_override("data_root", self.data_root)])

    def train_expert(self, weights: str | None = None) -> str:
        """Return the command that trains an expert on this data, optionally from weights."""
        paths = {"data_root": self.data_root, "checkpoint_dir": f"{self.checkpoint_dir}/expert"}
        overrides = [quote_override(key, path) for key, path in paths.items()]
        if weights is not None:
            overrides += [quote_override("checkpoint_path", weights), "reset_optimizer=true"]
        return shlex.join(["python", "-m", "train.syncnet", *overrides])


def quote_override(key: str, path: str) -> str:
    """Return KEY=PATH in Hydra's grammar, which accepts any path in quotes."""
    if UNQUOTED.fullmatch(path):
        return f"{key}={path}"
    escaped = path.replace("\\", "/").replace("'", "\\'")
    return f"{key}='{escaped}'"


@dataclass(frozen=True)
class RunContext:
    """Facts known before a run starts."""

    data: DataVolume
    commands: Commands
    batch_size: int  # samples per optimizer step, of all processes
    learning_rate: float

    @classmethod
    def from_config(
        cls, cfg: DictConfig, train: BatchDataset, val: WindowDataset, eval_windows: int, processes: int
    ) -> RunContext:
        """Collect the facts; eval_windows: windows per validation."""
        datasets: list[Any] = [train.main, train.replay] if isinstance(train, ReplayMixture) else [train]
        clips = [Path(clip) for dataset in datasets for clip in dataset.clips]
        seconds = sum(int(dataset.index.runs.count.sum()) for dataset in datasets) / FPS
        roots = [Path(root) for root in (cfg.data_root, cfg.replay_root) if root is not None]
        disjoint_windows = int((val.index.runs.count // WINDOW_FRAMES).sum())
        data = DataVolume(seconds, len(clips), count_groups(clips, roots), min(eval_windows, disjoint_windows))
        batch_size = cfg.batch_size * cfg.grad_accum_steps * processes
        return cls(data, Commands.from_config(cfg), batch_size, cfg.learning_rate)
