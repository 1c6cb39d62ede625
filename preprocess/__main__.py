"""Entry point: python -m preprocess videos=DIR out=DIR."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from configs import entry
from preprocess import pipeline, report
from preprocess.build import build_job
from preprocess.dataset import DATASET
from preprocess.ingest import find_videos
from preprocess.page import PAGE
from wav2lip.errors import InputError


def main() -> None:
    """Read the command line and preprocess."""
    entry.run(preprocess, "preprocess")


def preprocess(cfg: DictConfig) -> None:
    """Preprocess a folder of videos as a config says, and print what became of each."""
    # parse
    values = OmegaConf.to_container(cfg, resolve=True)
    sources = find_videos(str(cfg.videos))

    # build
    job = build_job(values)  # type: ignore[arg-type]

    # run
    dataset = pipeline.run(sources, job).dataset
    if dataset is None:
        print(f"done: {', '.join(job.stages)} of {len(sources)} inputs")  # noqa: T201 - the answer to the command
        return
    print(report.table(dataset))  # noqa: T201
    if not dataset["totals"]["clips_kept"]:
        raise InputError(f"{cfg.videos}: {report.nothing_left(dataset)}; {job.root / PAGE} has the reason for each")
    print(f"{job.root / PAGE} shows it; {job.root / DATASET} has the figures")  # noqa: T201


if __name__ == "__main__":
    main()
