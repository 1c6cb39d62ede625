"""Merge the shards of a data set: python -m preprocess.merge out=DIR shards=[DIR,DIR,...]

Runs what needs the whole data set: duplicates, sync, splits, pack and report. The result equals that of one run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from configs import cli
from preprocess import pipeline
from preprocess.build import build_job
from preprocess.outcome import print_outcome
from preprocess.pipeline import CLIP_STAGES, REDUCE_STAGES, Job
from preprocess.shards import FinishedShard, check_shards, import_shard, read_shard
from wav2lip.errors import InputError, file_error
from wav2lip.execution.manifest import Manifest


def main() -> None:
    """Run the command line."""
    cli.run(merge, "merge")


def merge(cfg: DictConfig) -> None:
    """Merge shards and print the outcome of each video."""
    # parse
    root = Path(str(cfg.out))
    shards = sorted((read_shard(Path(str(path))) for path in cfg.shards), key=lambda shard: shard.shard.number)
    if not shards:
        raise InputError("shards=[]: must name the folders of all shards")
    check_shards(shards)

    # build
    job = _build_job(root, shards, cfg)

    # run
    print_outcome(run(shards, job), job, str(root))


def run(shards: list[FinishedShard], job: Job) -> pipeline.Result:
    """Copy the shards into the data root of a job and run its stages.

    Raises: InputError if the folder cannot be written or is in use, or a record of a shard is missing.
    """
    sources = sorted((source for shard in shards for source in shard.sources), key=lambda source: source.name)
    try:
        job.root.mkdir(parents=True, exist_ok=True)
        with Manifest(job.root) as manifest:
            for shard in shards:
                import_shard(shard, manifest)
    except OSError as error:
        raise file_error(error, job.root) from error
    crashes = [record for shard in shards for record in shard.crashes]
    return pipeline.run(sources, replace(job, stages=CLIP_STAGES + REDUCE_STAGES, crashes=crashes))


def _build_job(root: Path, shards: list[FinishedShard], cfg: DictConfig) -> Job:
    """Build the job of the whole data set from the config of the shards, with the runtime keys of this command."""
    values: dict[str, Any] = {**shards[0].config, "out": root, "stages": "all", "overwrite": False, "retry": False}
    values |= {key: cfg[key] for key in ("workers", "executor", "ray_address", "worker_cpus", "worker_gpus")}
    values |= {"filelists": cfg.filelists, "batch_size": 1, "s3fd_weights": None, "landmark_weights": None}
    if cfg.device is not None:
        values["device"] = cfg.device
    return build_job(values, is_detector_needed=False)


if __name__ == "__main__":
    main()
