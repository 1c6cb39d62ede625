"""Entry point: python -m preprocess videos=DIR out=DIR."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from configs import entry
from preprocess import pipeline, report
from preprocess.cut import Job
from preprocess.ingest import find_videos
from preprocess.settings import Settings
from wav2lip.errors import InputError


def main() -> None:
    """Read the command line and preprocess."""
    entry.run(preprocess, "preprocess")


def preprocess(cfg: DictConfig) -> None:
    """Preprocess a folder of videos as a config says, and print what became of each."""
    # parse
    shares = pipeline.Shares(cfg.val, cfg.test, cfg.seed, cfg.split_by)
    if cfg.batch_size < 1:
        raise InputError(f"batch_size={cfg.batch_size}: is below 1; give a number of frames")
    sources = find_videos(str(cfg.videos))

    # build
    weights = None if cfg.s3fd_weights is None else str(cfg.s3fd_weights)
    wanted = pipeline.DetectorChoice(cfg.detector, weights, cfg.device, cfg.batch_size, cfg.compat)
    detector = wanted.resolve()
    settings = Settings(detector.name, cfg.compat, cfg.longest_gap, cfg.smooth_window)
    job = Job(Path(str(cfg.out)), settings, cfg.batch_size)

    # run
    result = pipeline.run(
        sources,
        job,
        detector,
        workers=cfg.workers,
        overwrite=cfg.overwrite,
        retry=cfg.retry,
        shares=shares,
        filelists=None if cfg.filelists is None else Path(str(cfg.filelists)),
    )
    print(report.table(result.outcomes, result.earlier))  # noqa: T201 - the answer to the command
    if not result.clips:
        cause, times = report.commonest_cause(result.outcomes)
        raise InputError(
            f"{cfg.videos}: no clip came out of {len(result.outcomes)} inputs; most often ({times} times): {cause}; "
            f"the table above has the reason for each"
        )
    print(f"{job.root / report.DATASET} has the figures; file lists are in {result.filelists}")  # noqa: T201


if __name__ == "__main__":
    main()
