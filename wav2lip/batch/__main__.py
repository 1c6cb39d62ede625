"""Lip-sync many videos: python -m wav2lip.batch JOBS --checkpoint_path FILE

JOBS is a CSV file with a header, or JSON Lines. Columns: face, audio, outfile, user, engine (wav2lip or sadtalker), and
any option of wav2lip.infer, or of wav2lip.sadtalker.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from face_detection.build import DETECTORS
from wav2lip.batch.engines import Factory, LipSyncFactory, SadTalkerFactory
from wav2lip.batch.jobs import Job, JobDefaults, pair_folders, read_jobs
from wav2lip.batch.report import failed_share, format_html, format_report
from wav2lip.batch.run import BatchSettings, run
from wav2lip.cli import run as run_entry_point
from wav2lip.devices import choose_devices
from wav2lip.engines import ENGINES, SADTALKER, WAV2LIP
from wav2lip.errors import InputError, file_error
from wav2lip.execution.build import EXECUTORS, ExecutorSettings
from wav2lip.execution.shard import Shard
from wav2lip.hashing import hash_checkpoint
from wav2lip.infer import find_checkpoint
from wav2lip.sadtalker.checkpoints import hash_folder

EXIT_FAILED_JOBS = 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("jobs", nargs="?", type=Path, metavar="JOBS", help="table of jobs; paths are relative to its folder")
    add("--faces", type=Path, metavar="DIR", help="instead of JOBS: folder of videos and images, with --audio")
    add("--audio", type=Path, metavar="DIR", help="folder of audio, paired with --faces by file name")
    add("--cross", action="store_true", help="combine each face with each audio")
    add("--out", type=Path, default=Path("results"), metavar="DIR", help="folder for records, and for results without "
        "outfile; default: results")  # fmt: skip
    add(
        "--checkpoint_path", metavar="FILE", help="generator checkpoint, or a file of wav2lip.export; default: as infer"
    )
    add("--checkpoint_dir", default="checkpoints", metavar="DIR", help="checkpoints of SadTalker, and restoration "
        "networks that are given by name; default: checkpoints")  # fmt: skip
    add("--engine", choices=ENGINES, default=WAV2LIP, help="engine of jobs without one; default: wav2lip")
    add("--detector", choices=DETECTORS, default="auto", help="auto: S3FD if its weights are available, else MTCNN")
    add("--s3fd_weights", metavar="FILE", help="S3FD weights; default: as infer")
    add("--landmark_weights", metavar="FILE", help="2DFAN4, for --align and --enhancer; default: as infer")
    add(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:N or mps; several: workers are spread over cuda:0,cuda:1",
    )
    add("--workers", type=int, metavar="N", help="processes, each with the model; 0: this one; default: one per device")
    add("--segment_seconds", type=float, metavar="S", help="divide results of twice this length or more into segments")
    add("--shard", metavar="I/N", help="do the I-th of N shares of the jobs; each share has its own records")
    add("--retry-failed", action="store_true", help="run failed and rejected jobs again")
    add(
        "--max_failed",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="exit with code 1 if more jobs failed; default: 0",
    )
    add("--report", type=Path, metavar="FILE", help="write the table as an HTML page too")
    add("--executor", choices=EXECUTORS, default="local", help="processes of this machine, or a Ray cluster")
    add("--ray_address", default="auto", metavar="ADDRESS", help="auto: the running cluster; local: start one here")
    add("--worker_cpus", type=float, default=1.0, metavar="N", help="CPUs that Ray grants to each worker")
    add("--worker_gpus", type=float, default=0.0, metavar="N", help="GPUs that Ray grants to each worker; 0.5: a half")
    return parser


def batch(argv: list[str] | None = None) -> int:
    """Parse the command line, run the jobs, print the table and return the exit code."""
    args = build_parser().parse_args(argv)
    jobs = _read(args)
    records = run(jobs, build_settings(args, {job.engine for job in jobs if not job.fault}))
    sys.stdout.write(format_report(records) + "\n")
    if args.report is not None:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(format_html(records, "Batch"), encoding="utf-8")
    return EXIT_FAILED_JOBS if failed_share(records) > args.max_failed else 0


def _read(args: argparse.Namespace) -> list[Job]:
    has_folders = args.faces is not None and args.audio is not None
    if (args.jobs is None) != has_folders or (args.faces is None) != (args.audio is None):
        raise InputError("JOBS, or --faces and --audio: must be given, one of the two")
    defaults = JobDefaults(args.out, args.engine, args.checkpoint_dir)
    if has_folders:
        return pair_folders(args.faces, args.audio, defaults, args.cross)
    return read_jobs(args.jobs, defaults)


def build_settings(args: argparse.Namespace, engines: Collection[str]) -> BatchSettings:
    """Build the settings of a batch. engines: of its jobs. Raises: InputError for an impossible value."""
    if not 0 <= args.max_failed <= 1:
        raise InputError(f"--max_failed {args.max_failed:g}: must be from 0 to 1")
    if args.segment_seconds is not None and not args.segment_seconds > 0:
        raise InputError(f"--segment_seconds {args.segment_seconds:g}: must be above 0, for example 60")
    workers = len(args.device.split(",")) if args.workers is None else args.workers
    if args.executor == "local":
        choose_devices(args.device)  # An invalid name fails here once instead of in every worker.
    return BatchSettings(
        args.out,
        {engine: _build_factory(engine, args) for engine in engines},
        ExecutorSettings(args.executor, workers, args.ray_address, args.worker_cpus, args.worker_gpus),
        args.segment_seconds,
        args.retry_failed,
        None if args.shard is None else Shard.parse(args.shard, "--shard "),
    )


def _build_factory(engine: str, args: argparse.Namespace) -> Factory:
    common = args.device, args.detector, args.s3fd_weights
    if engine == SADTALKER:
        digest = hash_folder(args.checkpoint_dir)
        return SadTalkerFactory(args.checkpoint_dir, *common, digest, args.landmark_weights)
    checkpoint = args.checkpoint_path or str(find_checkpoint())
    try:
        digest = hash_checkpoint(checkpoint)
    except OSError as error:
        raise file_error(error, checkpoint) from error
    return LipSyncFactory(checkpoint, *common, digest, args.landmark_weights)


def main() -> None:
    """Run the command."""
    run_entry_point(batch)


if __name__ == "__main__":
    main()
