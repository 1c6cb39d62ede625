"""Measure and correct the sync of every clip of a data set, and reject clips without sync.

python -m preprocess.sync data_root=DIR                bootstrap an expert from the data set itself
python -m preprocess.sync data_root=DIR expert=FILE    use a SyncNet: this project's, upstream's or SyncNet v2
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from configs import cli
from preprocess.curation.clip_inputs import find_clips, inspect_clips
from preprocess.curation.duplicates import group_duplicates
from preprocess.curation.filelists import trim_filelists
from preprocess.stages import quality as quality_stage
from preprocess.stages import sync as sync_stage
from preprocess.sync.apply_offset import recover
from preprocess.sync.decide import SyncSettings, format_table
from wav2lip.dataset.clip import AUDIO
from wav2lip.errors import InputError, file_error
from wav2lip.execution.local import ProcessExecutor
from wav2lip.execution.manifest import STATE_FOLDER, Manifest, Record
from wav2lip.execution.stage_runner import StageRunner

NO_CLIP = f"contains no clip (GROUP/CLIP/{AUDIO}); set data_root to the folder that preprocess wrote"


def main() -> None:
    """Run the command line."""
    cli.run(sync, "sync")


def sync(cfg: DictConfig) -> None:
    """Run the sync stage over a data set and print the result."""
    # parse
    root = Path(str(cfg.data_root))
    settings = SyncSettings(
        expert=None if cfg.expert is None else str(cfg.expert),
        min_confidence=cfg.min_confidence,
        max_offset_frames=cfg.max_offset_frames,
        folds=cfg.folds,
        bootstrap_minutes=cfg.bootstrap_minutes,
        num_negatives=cfg.num_negatives,
        correct=cfg.correct,
        device=cfg.device,
    )
    if settings.expert is not None and cfg.bootstrap:
        raise InputError("bootstrap=true: must not be combined with expert=; set one of the two")
    if not find_clips(root) and not (root / STATE_FOLDER).exists():
        raise InputError(f"{root}: {NO_CLIP}")

    # run
    try:
        with Manifest(root) as manifest, ProcessExecutor(cfg.workers) as executor:
            recover(root)  # Before clips are listed: a killed run may have moved one aside.
            runner = StageRunner(manifest, executor, (quality_stage.STAGE, sync_stage.STAGE))
            records, summary = _run_stages(root, settings, runner)
        if settings.correct:
            trim_filelists(root / "filelists", records)
    except OSError as error:
        raise file_error(error, root) from error
    print(format_table(records, summary))  # noqa: T201 - the output of the command


def _run_stages(root: Path, settings: SyncSettings, runner: StageRunner) -> tuple[dict[str, Record], dict[str, Any]]:
    """Return the sync records of all clips under a data root, and the summary."""
    clips = find_clips(root)
    if not clips:
        raise InputError(f"{root}: {NO_CLIP}")
    inputs, unreadable = inspect_clips(root, clips, runner.executor, sync_stage.STAGE)
    qualities = quality_stage.run_quality(root, inputs, runner)
    duplicates = group_duplicates(quality_stage.find_duplicate_clips(inputs, qualities))
    records, summary = sync_stage.run_sync(root, inputs, settings, runner, duplicates)
    records |= unreadable
    return {clip: records[clip] for clip in clips}, summary


if __name__ == "__main__":
    main()
