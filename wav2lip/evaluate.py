"""Measure generated videos: python -m wav2lip.evaluate pairs --generated DIR --truth DIR --out DIR --expert FILE"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from tqdm import tqdm

from face_detection.build import DETECTORS
from wav2lip.cli import run
from wav2lip.devices import cpu_count
from wav2lip.errors import InputError
from wav2lip.evaluation.aggregate import aggregate
from wav2lip.evaluation.cache import CachedResult
from wav2lip.evaluation.protocols import PROTOCOLS, RESYNCED
from wav2lip.evaluation.report import write_html, write_markdown
from wav2lip.evaluation.runner import run as run_tasks
from wav2lip.evaluation.scorers import load_detector
from wav2lip.evaluation.settings import LSE_FRAMES, EvalSettings
from wav2lip.evaluation.systems import SHUFFLED, TRUE, build_systems

log = logging.getLogger(__name__)

FILES = {
    "expert": "SyncNet of this project or of upstream: expert_distance, expert_confidence, expert_offset",
    "second_expert": "SyncNet that the generator was not trained against: second_distance, second_confidence, ...",
    "syncnet_v2": "syncnet_v2.model: LSE-D and LSE-C",
    "lpips_backbone": "torchvision's AlexNet, for LPIPS",
    "lpips_weights": "alex.pth of LPIPS",
    "fid_weights": "Inception of torch-fidelity, for FID; needs the extra `evaluation`",
    "fid_network": "TorchScript network for FID instead: (N, 3, 299, 299) uint8 to (N, D)",
    "landmark_network": "TorchScript network for LMD: (N, 3, 256, 256) to heat maps (N, 68, h, w)",
    "identity_network": "TorchScript network for identity: (N, 3, 112, 112) in [-1, 1] to (N, D)",
    "s3fd_weights": "weights of S3FD; default: models/s3fd.pth, upstream's place, or the cache",
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser, with a subcommand for each mode."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.evaluate",
        description="Measure generated videos, beside the real ones if there are any. Metrics: docs/evaluation.md.",
    )
    modes = parser.add_subparsers(dest="mode", required=True, metavar="MODE")
    add = _add_mode(modes, "pairs", "generated videos against real ones of the same names")
    add("--generated", required=True, type=Path, metavar="DIR", help="folder of generated videos, or one video")
    add("--truth", required=True, type=Path, metavar="DIR", help="folder of the real videos, or one video")
    add = _add_mode(modes, "videos", "generated videos without ground truth")
    add("--generated", required=True, type=Path, metavar="DIR", help="folder of generated videos, or one video")
    add("--source", type=Path, metavar="DIR", help="videos of the same names that the faces were taken from")
    add = _add_mode(modes, "checkpoint", "a generator on the clips of a data set")
    add("--checkpoint_path", required=True, type=Path, metavar="FILE", help="generator")
    _add_data(add, required=True)
    add("--audio", nargs="+", choices=(TRUE, SHUFFLED), default=[TRUE, SHUFFLED],
        help="a clip's own audio, another clip's, or both (default)")  # fmt: skip
    _add_speech(add)
    add = _add_mode(modes, "filelist", "a generator on one of the paper's lists")
    add("--checkpoint_path", required=True, type=Path, metavar="FILE", help="generator")
    _add_list(add, required=True)
    add("--data_root", required=True, type=Path, metavar="DIR", help="folder of the videos in the list")
    add = _add_mode(modes, "compare", "several generators, or folders of generated videos")
    add("systems", nargs="+", metavar="NAME=PATH", help="a checkpoint, or a folder of generated videos")
    _add_data(add, required=False)
    _add_list(add, required=False)
    add("--truth", type=Path, metavar="DIR", help="folder of the real videos, for folders")
    add("--audio", nargs="+", choices=(TRUE, SHUFFLED), default=[TRUE], help="audio for checkpoints (default: true)")
    _add_speech(add)
    return parser


def _add_list(add: Callable[..., object], required: bool) -> None:
    add("--filelist", type=Path, metavar="FILE", help="one of the paper's lists, as published; not for resynced_dubbed")
    add("--protocol", required=required, choices=tuple(PROTOCOLS), help="protocol of the list")


def _add_data(add: Callable[..., object], required: bool) -> None:
    add("--data_root", required=required, type=Path, metavar="DIR", help="data set written by python -m preprocess")
    add("--split", default="val", help="name of a list in its filelists/ (default: val)")


def _add_speech(add: Callable[..., object]) -> None:
    add("--speech", nargs="+", type=Path, default=[], metavar="FILE",
        help="recordings with which each clip is generated as well; longer ones repeat the clip")  # fmt: skip


def _add_mode(modes: argparse._SubParsersAction, name: str, description: str) -> Callable[..., object]:
    """Add a subcommand with the flags of all modes; return its add_argument."""
    parser = modes.add_parser(name, help=description, description=f"{description[0].upper()}{description[1:]}.")
    add = parser.add_argument
    add(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the results; an interrupted run resumes there"
    )
    for flag, meaning in FILES.items():
        add(f"--{flag}", type=Path, metavar="FILE", help=meaning)
    add("--lse_frames", choices=LSE_FRAMES, help="input of SyncNet v2: a square around the face, or whole frames; "
        "default: whole for LRS lists, else track")  # fmt: skip
    add("--detector", choices=DETECTORS, default="auto", help="face detector; auto: S3FD if "
        "its weights are present, else MTCNN")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--limit", type=int, metavar="N", help="only the first N clips")
    add("--seed", type=int, default=0, help="of the bootstrap and of shuffled audio (default: 0)")
    return add


def parse_settings(args: argparse.Namespace) -> EvalSettings:
    """Convert flags to settings and resolve automatic choices."""
    values = {field.name: getattr(args, field.name, args.detector) for field in fields(EvalSettings)}
    if values["lse_frames"] is None:
        protocol = getattr(args, "protocol", None) or RESYNCED
        values["lse_frames"] = "track" if PROTOCOLS[protocol] == RESYNCED else "whole"
    settings = EvalSettings(**values)
    return replace(settings, detector=load_detector(settings).name)


def _progress_bar(description: str) -> Callable[[int, int], object]:
    """Return a callback for a progress bar that appears on the first call."""
    bars: list[tqdm] = []

    def update(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(desc=description, unit="clip", total=total))
        bars[0].update(done - bars[0].n)
        if done == total:
            bars[0].close()

    return update


def evaluate(argv: list[str] | None = None) -> None:
    """Parse the command line, evaluate the videos and write the reports."""
    args = build_parser().parse_args(argv)
    for flag in ("workers", "limit"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise InputError(f"--{flag}={getattr(args, flag)}: must be 1 or more")
    if args.workers > cpu_count():
        log.info("--workers %d: this machine has %d cores", args.workers, cpu_count())
    settings = parse_settings(args)
    systems = build_systems(args, _progress_bar("real clips"))
    clips = run_tasks(systems, settings, args.out, args.workers, _progress_bar("clips"))
    if all(result.error for results in clips.values() for result in results):
        raise InputError(f"no video could be measured; the first error: {next(iter(clips.values()))[0].error}")
    results = aggregate(f"wav2lip.evaluate {args.mode}", args.seed, settings, clips, args.out)
    for path in (results.write_json(), write_markdown(results), write_html(results)):
        log.info("%s", path)
    report_failures(clips)


def report_failures(clips: Mapping[str, Sequence[CachedResult]]) -> None:
    """Log the systems of which some videos could not be measured; InputError if none of a system could."""
    for name, results in clips.items():
        errors = [result.error for result in results if result.error]
        if errors and len(errors) == len(results):
            raise InputError(f"{name}: none of its {len(results)} videos could be measured: {errors[0]}")
        if errors:
            log.warning("%s: %d of %d videos could not be measured: %s", name, len(errors), len(results), errors[0])


def main() -> None:
    """Run the command."""
    run(evaluate)


if __name__ == "__main__":
    main()
