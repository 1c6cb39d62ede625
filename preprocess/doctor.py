"""Check whether data is fit to train on, before a GPU is used: python -m preprocess.doctor DIR

DIR contains videos, or clips as this project or another tool wrote them (GROUP/CLIP/0.jpg ... audio.wav). Nothing in it
is changed.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from preprocess import pipeline
from preprocess.build import build_job
from preprocess.curation.clip_inputs import locate_clips
from preprocess.curation.clip_origin import ClipOrigin, count_frames
from preprocess.curation.curate import CurationSettings, curate
from preprocess.curation.outcomes import InputRecords
from preprocess.ingest import Source, find_videos
from preprocess.report.advice import MIN_SCRATCH_SECONDS, MIN_SECONDS, list_warnings, usable_seconds
from preprocess.report.dataset import describe
from preprocess.report.html import REPORT
from preprocess.report.table import format_summary
from preprocess.stages.report import run_report
from preprocess.sync.bootstrap import sample_minutes
from preprocess.sync.decide import BOOTSTRAP, SyncSettings
from preprocess.video_chunks import Rejected, VideoChunk
from wav2lip.audio.windows import FPS
from wav2lip.cli import run
from wav2lip.dataset.clip import Clip, read_info
from wav2lip.errors import InputError, file_error
from wav2lip.execution.local import ProcessExecutor
from wav2lip.execution.manifest import OK, REJECTED, Manifest, Record
from wav2lip.execution.stage_runner import StageRunner
from wav2lip.media import probe
from wav2lip.reporting.durations import format_duration

MIN_KEPT_FRACTION = 0.5  # minimum share of the seconds; less means that the data has a fault


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DIR", help="folder of videos, one video, or a folder of clips")
    parser.add_argument("--out", type=Path, default=Path("doctor"), help="folder for the report and temporary files")
    expert = "checkpoint of SyncNet or SyncNet v2 that measures sync; default: bootstrapped from the data"
    parser.add_argument("--expert", metavar="FILE", help=expert)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="length of the sample of videos or clips, spread over DIR"
    )
    parser.add_argument("--detector", default="auto", help="auto, s3fd, mtcnn or haar")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0 works in this one")
    return parser


def main() -> None:
    """Run the command line."""
    parser = build_parser()
    args = parser.parse_args()
    if not args.minutes > 0:
        parser.error(f"--minutes {args.minutes:g}: must be above 0, for example 30")
    run(lambda: examine(args))


def examine(args: argparse.Namespace) -> int:
    """Examine the data, print the result, and return the exit code: 0 if it is fit to train on, 1 if not."""
    root, clips = locate_clips(args.data) if args.data.is_dir() else (args.data, [])
    content = _examine_clips(args, root, clips) if clips else _examine_videos(args)
    print(format_summary(content))  # noqa: T201 - the output of the command
    faults = find_faults(content)
    for fault in faults:
        print(f"NOT YET: {fault}")  # noqa: T201
    if not faults:
        print(describe_fitness(usable_seconds(content)))  # noqa: T201
    print(f"report: {args.out / REPORT}")  # noqa: T201
    return 1 if faults else 0


def find_faults(content: dict[str, Any]) -> list[str]:
    """Return the reasons against training on a data set, given its dataset.json; empty if it is fit."""
    totals, sync = content["totals"], content["sync"]
    if sync is not None and sync["agreement_found"] is False:
        return [sync["conclusion"]]
    if not totals["clips_kept"]:
        return [f"no clip can be used: {explain_rejections(content)}"]
    faults = []
    if totals["seconds_kept"] < MIN_KEPT_FRACTION * totals["seconds_in"]:
        fraction = totals["seconds_kept"] / totals["seconds_in"]
        largest = content["dropped"][0]["cause"] if content["dropped"] else "several causes"
        faults.append(f"only {fraction:.0%} of the data can be used, most of the rest is dropped by: {largest}")
    if sync is None or (sync["agreement_found"] is None and not sync.get("agreement_probable")):
        has_expert = sync is not None and sync["expert"] != BOOTSTRAP
        remedy = "add longer videos" if has_expert else "pass --expert FILE, or add data"
        faults.append(f"too little data to measure whether lips and audio agree; {remedy}")
    return faults


def explain_rejections(content: dict[str, Any]) -> str:
    """Return the most frequent cause for which inputs or clips were rejected, with the reason of the first."""
    entries = [entry for entry in (*content["clips"], *content["inputs"]) if entry["status"] != OK]
    if not entries:
        return "the report gives the reasons"
    ((cause, count),) = Counter(entry["cause"] for entry in entries).most_common(1)
    first = next(entry for entry in entries if entry["cause"] == cause)
    return f"{cause} ({count} of {len(entries)}), for example {first.get('clip') or first['source']}: {first['reason']}"


def describe_fitness(seconds: float) -> str:
    """Return the verdict on data without faults, by the purpose that its length suffices for."""
    length, hours = format_duration(seconds), f"{MIN_SCRATCH_SECONDS / 3600:.0f} hours"
    if seconds < MIN_SECONDS:
        return f"FIT for a trial, or to fine-tune a checkpoint ({length}); too little to train from scratch."
    if seconds < MIN_SCRATCH_SECONDS:
        return f"FIT to fine-tune a checkpoint ({length}); training from scratch needs {hours} or more."
    return "FIT to train on."


def _examine_videos(args: argparse.Namespace) -> dict[str, Any]:
    """Preprocess a sample of videos with the default settings, without sync correction and packing."""
    sources = find_videos(args.data)
    with initialize_config_module("configs", version_base="1.3"):
        overrides = [f"detector={args.detector}", f"device={args.device}", f"workers={args.workers}"]
        config = compose("preprocess", ["videos=''", "out=''", "compat=none", *overrides], return_hydra_config=False)
        cfg: Any = OmegaConf.to_container(config, resolve=False)
    cfg |= {"out": args.out, "compat": "none"}
    cfg["sync"]["expert"] = args.expert
    job = build_job(cfg)
    assert job.curation.sync is not None  # enabled by default
    curation = replace(job.curation, sync=replace(job.curation.sync, correct=False))
    sample = sample_videos(sources, args.minutes)
    content = pipeline.run(sample, replace(job, curation=curation, pack=None)).dataset
    assert content is not None  # the default runs all stages
    return _extrapolate(content, sum(s.size for s in sample) / max(1, sum(s.size for s in sources)), args.out, args.out)


def _extrapolate(content: dict[str, Any], fraction: float, root: Path, out: Path) -> dict[str, Any]:
    """Estimate the usable length of all data from a sample of it, and correct the advice and the report."""
    if fraction < 1:
        totals = content["totals"] | {"seconds_estimated": content["totals"]["seconds_kept"] / max(fraction, 1e-9)}
        content = content | {"totals": totals}
        content["warnings"] = list_warnings(content)
        run_report(root, content, out)
    return content


def sample_videos(sources: Sequence[Source], minutes: float) -> list[Source]:
    """Return videos from all over a folder with about so many minutes, at least one, the same in every run."""
    sample: list[Source] = []
    seconds = 0.0
    for source in sorted(sources, key=lambda source: hashlib.sha256(source.name.encode()).digest()):
        if seconds >= minutes * 60:
            break
        sample.append(source)
        try:
            seconds += probe(source.path).seconds
        except InputError:
            continue  # An unreadable video stays in the sample, so that the report names its fault.
    return sorted(sample, key=lambda source: source.name)


def _examine_clips(args: argparse.Namespace, root: Path, clips: Sequence[str]) -> dict[str, Any]:
    """Run the clip stages over a sample of existing clips."""
    settings = CurationSettings(sync=SyncSettings(expert=args.expert, correct=False, device=args.device))
    all_inputs = [_read_clip(root, clip) for clip in clips]
    inputs = sample_clips(all_inputs, args.minutes)
    readable = [clip["clip"] for records in inputs for clip in records.clips()]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with Manifest(args.out) as manifest, ProcessExecutor(args.workers) as executor:
            curation = curate(root, readable, settings, StageRunner(manifest, executor, ("sync", "quality")))
        content = describe(inputs, curation, {"quality": asdict(settings.limits)})
        run_report(root, content, args.out)
        frames, sampled = (sum(clip.frames() for clip in group) for group in (all_inputs, inputs))
        return _extrapolate(content, sampled / max(1, frames), root, args.out)
    except OSError as error:
        raise file_error(error, args.out) from error


def sample_clips(inputs: Sequence[InputRecords], minutes: float) -> list[InputRecords]:
    """Return clips from all over a folder with about so many minutes, but at least a few, the same in every run."""
    by_clip = {records.source.clip: records for records in inputs}
    origins = [ClipOrigin(clip, clip, 0, records.frames()) for clip, records in by_clip.items()]
    return [by_clip[origin.clip] for origin in sample_minutes(origins, minutes)]


def _read_clip(root: Path, clip: str) -> InputRecords:
    """Return a clip of another tool as an input of its own."""
    source = Source(root / clip, clip, clip, 0, 0)
    try:
        info = read_info(root / clip) or {}
        frames = count_frames(Clip.open(root / clip), info)
        if info.get("fps", FPS) != FPS:
            raise Rejected("not at 25 fps", f"has a frame rate other than {FPS:g} fps; write it again at {FPS:g} fps")
    except InputError as error:
        cause = error.cause if isinstance(error, Rejected) else "unreadable"
        return InputRecords(source, Record("probe", clip, "", REJECTED, cause, str(error)), [])
    probed = Record("probe", clip, "", data={"seconds": frames / FPS, "fps": float(FPS)})
    crops = {"clips": [{"clip": clip, "first": 0, "frames": frames}], "dropped": [], "problems": []}
    return InputRecords(source, probed, [(VideoChunk(source), {"crops": Record("crops", clip, "", data=crops)})])


if __name__ == "__main__":
    main()
