"""Entry point: python -m preprocess videos=DIR out=DIR."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs import cli
from preprocess import pipeline
from preprocess.build import build_job
from preprocess.ingest import find_videos
from preprocess.outcome import print_outcome
from preprocess.shards import begin_shard, finish_shard, select_sources
from wav2lip.execution.shard import Shard


def main() -> None:
    """Run the command line."""
    cli.run(preprocess, "preprocess")


def preprocess(cfg: DictConfig) -> None:
    """Preprocess a folder of videos, or a shard of it, and print the outcome of each."""
    # parse
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    shard = None if cfg.shard is None else Shard.parse(str(cfg.shard))
    sources = find_videos(str(cfg.videos))

    # build
    job = build_job(values)
    if shard is not None:
        sources, job = select_sources(sources, shard), begin_shard(job)

    # run
    result = pipeline.run(sources, job)
    if shard is not None:
        finish_shard(job, shard, values, result.inputs)
    print_outcome(result, job, str(cfg.videos))


if __name__ == "__main__":
    main()
