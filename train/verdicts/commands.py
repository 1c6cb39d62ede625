"""Commands that a verdict names, ready to paste: a training's own with other settings, and those that look at data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

PLAIN = re.compile(r"[\w./~-]+", re.ASCII)  # values that Hydra takes without quotes


@dataclass(frozen=True)
class Commands:
    """What was typed to start this training, and where its data and checkpoints are."""

    module: str  # train.syncnet, train.wav2lip or train.wav2lip_gan
    overrides: Sequence[str]  # KEY=VALUE as given on the command line
    data_root: str
    checkpoint_dir: str
    accumulate: int = 1
    processes: int = 1  # on this machine, that torchrun started

    def again(self, *changes: str, on: bool = False) -> str:
        """The command that was typed, with changes KEY=VALUE to it.

        on: go on from the newest checkpoint instead of from where this training began.
        """
        changes = (*changes, "resume=true") if on else changes
        changed = {change.partition("=")[0] for change in changes}
        kept = [override for override in self.overrides if override.partition("=")[0] not in changed]
        start = ["python"] if self.processes == 1 else ["torchrun", f"--nproc_per_node={self.processes}"]
        return shlex.join([*start, "-m", self.module, *kept, *changes])

    def overfit(self) -> str:
        """The self-test of this training, for which one process does."""
        begun = ("resume", "checkpoint_path", "disc_checkpoint_path", "reset_optimizer")
        kept = [each for each in self.overrides if each.partition("=")[0] not in begun and each != "recipe=finetune"]
        return replace(self, overrides=kept, processes=1).again("overfit=4")

    def doctor(self) -> str:
        """Ask whether the data is worth training on."""
        return shlex.join(["python", "-m", "preprocess.doctor", self.data_root])

    def sync(self, expert: str | None = None) -> str:
        """Measure the sync of every clip, correct offsets, set aside what agrees nowhere."""
        more = [override("expert", expert)] if expert else []
        return shlex.join(["python", "-m", "preprocess.sync", override("data_root", self.data_root), *more])

    def expert(self, weights: str | None = None) -> str:
        """Train an expert on this data, from nothing or from weights."""
        more = [override("checkpoint_path", weights), "reset_optimizer=true"] if weights else []
        folder = override("checkpoint_dir", f"{self.checkpoint_dir}/expert")
        return shlex.join(["python", "-m", "train.syncnet", override("data_root", self.data_root), folder, *more])


def override(key: str, path: str) -> str:
    """KEY=PATH in Hydra's grammar, which takes any path in quotes."""
    if PLAIN.fullmatch(path):
        return f"{key}={path}"
    escaped = path.replace("\\", "/").replace("'", "\\'")
    return f"{key}='{escaped}'"
