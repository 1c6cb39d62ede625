"""Entry point: python -m preprocess.doctor DIR: is this data worth training on? Asked before any GPU is.

DIR holds videos, or clips as this project or another tool cut them (GROUP/CLIP/0.jpg ... audio.wav). Neither is
changed, but for a cache of each clip's spectrogram beside it where that may be written.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from preprocess import dataset, pipeline
from preprocess.bootstrap import sample
from preprocess.build import build_job
from preprocess.clip_stages import ClipSettings, judge_clips
from preprocess.fates import History
from preprocess.ingest import Source, find_videos
from preprocess.manifest import REJECTED, Manifest, Record
from preprocess.page import write_page
from preprocess.parts import Part, Rejected
from preprocess.places import Place, frames_of
from preprocess.report import summary
from preprocess.runner import Runner
from preprocess.settings import FPS
from preprocess.sync import find_clips
from preprocess.sync_verdicts import SyncSettings
from preprocess.workers import Crew
from wav2lip.clips import Clip, read_info
from wav2lip.errors import InputError, run
from wav2lip.media import probe

LITTLE_KEPT = 0.5  # share of the seconds below which something is wrong with the data


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocess.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DIR", help="folder of videos, one video, or a folder of clips")
    parser.add_argument("--out", type=Path, default=Path("doctor"), help="folder for the report and what it takes")
    expert = "SyncNet or SyncNet v2 that judges sync; default: one learned from the data"
    parser.add_argument("--expert", metavar="FILE", help=expert)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="of video or clips that are looked at, from all over DIR"
    )
    parser.add_argument("--detector", default="auto", help="auto, s3fd, mtcnn or haar")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0 works in this one")
    return parser


def main() -> None:
    """Read the command line and judge."""
    parser = build_parser()
    args = parser.parse_args()
    if not args.minutes > 0:
        parser.error(f"--minutes {args.minutes:g}: is not above 0; give a time, such as 30")
    run(lambda: examine(args))


def examine(args: argparse.Namespace) -> int:
    """Judge, print what was found, and return the exit code: 0 if it is fit to train on, 1 if not."""
    clips = find_clips(args.data) if args.data.is_dir() else []
    content = _of_clips(args, clips) if clips else _of_videos(args)
    print(summary(content))  # noqa: T201 - the answer to the command
    faults = verdict(content)
    for fault in faults:
        print(f"NOT YET: {fault}")  # noqa: T201
    if not faults:
        print("FIT to train on.")  # noqa: T201
    print(f"{args.out / 'report.html'} shows why")  # noqa: T201
    return 1 if faults else 0


def verdict(content: dict[str, Any]) -> list[str]:
    """What forbids training on a data set, by dataset.json; nothing if it is fit."""
    totals, sync = content["totals"], content["sync"]
    if sync is not None and sync["agreement_found"] is False:
        return [sync["verdict"]]
    if not totals["clips_kept"]:
        return ["nothing of it can be used; the table above has the reasons"]
    faults = []
    if totals["seconds_kept"] < LITTLE_KEPT * totals["seconds_in"]:
        share = totals["seconds_kept"] / totals["seconds_in"]
        faults.append(f"only {share:.0%} of it can be used; the table above has the reasons")
    if sync is None or sync["agreement_found"] is None:
        faults.append(
            "nobody knows whether lips and sound agree: there is too little to tell; give --expert or more data"
        )
    return faults


def _of_videos(args: argparse.Namespace) -> dict[str, Any]:
    """Preprocess some videos as they would be, with nothing corrected and nothing packed."""
    sources = find_videos(args.data)
    with initialize_config_module("configs", version_base="1.3"):
        values = [f"detector={args.detector}", f"device={args.device}", f"workers={args.workers}"]
        config = compose("preprocess", ["videos=''", "out=''", "compat=none", *values], return_hydra_config=False)
        cfg: Any = OmegaConf.to_container(config, resolve=False)
    cfg |= {"out": args.out, "compat": "none"}
    cfg["sync"]["expert"] = args.expert
    job = build_job(cfg)
    assert job.clips.sync is not None  # the config looks at sync
    measured = replace(job.clips, sync=replace(job.clips.sync, correct=False))
    some = spread_sample(sources, args.minutes)
    content = pipeline.run(some, replace(job, clips=measured, pack=None)).dataset
    assert content is not None  # all stages were asked for
    return content


def spread_sample(sources: Sequence[Source], minutes: float) -> list[Source]:
    """Videos from all over a folder, the same each time, until they last so long; whole videos, one at least."""
    chosen: list[Source] = []
    seconds = 0.0
    for source in sorted(sources, key=lambda source: hashlib.sha256(source.name.encode()).digest()):
        if seconds >= minutes * 60:
            break
        chosen.append(source)
        try:
            seconds += probe(source.path).seconds
        except InputError:
            continue  # it is chosen all the same: the report says what is wrong with it
    return sorted(chosen, key=lambda source: source.name)


def _of_clips(args: argparse.Namespace, clips: Sequence[str]) -> dict[str, Any]:
    """Judge clips as they are."""
    settings = ClipSettings(sync=SyncSettings(expert=args.expert, correct=False, device=args.device))
    histories = sample_clips([_history(args.data, clip) for clip in clips], args.minutes)
    whole = [clip["clip"] for history in histories for _, clip in history.clips()]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        with Manifest(args.out) as manifest, Crew(args.workers) as crew:
            judged = judge_clips(args.data, whole, settings, Runner(manifest, crew, ("sync", "quality")))
        content = dataset.describe(histories, judged, {"quality": asdict(settings.limits)})
        dataset.write(args.out, content)
        write_page(args.data, content, args.out)
    except OSError as error:
        raise InputError(f"{args.out}: cannot be written ({error}); make room or choose another --out") from error
    return content


def sample_clips(histories: Sequence[History], minutes: float) -> list[History]:
    """Clips from all over a folder, the same each time, that last about so long; a few at least."""
    by_clip = {history.source.clip: history for history in histories}
    places = [Place(clip, clip, 0, history.frames()) for clip, history in by_clip.items()]
    return [by_clip[place.clip] for place in sample(places, minutes)]


def _history(root: Path, clip: str) -> History:
    """A clip that another tool cut, as an input of its own."""
    source = Source(root / clip, clip, clip, 0, 0)
    try:
        info = read_info(root / clip) or {}
        frames = frames_of(Clip.open(root / clip), info)
        if info.get("fps", FPS) != FPS:
            raise Rejected("not at 25 fps", "was cut at another frame rate; preprocess its video again")
    except InputError as error:
        cause = error.cause if isinstance(error, Rejected) else "unreadable"
        return History(source, Record("probe", clip, "", REJECTED, cause, str(error)), [])
    probed = Record("probe", clip, "", figures={"seconds": frames / FPS, "fps": float(FPS)})
    told = {"clips": [{"clip": clip, "first": 0, "frames": frames}], "lost": [], "problems": []}
    return History(source, probed, [(Part(source), {"crops": Record("crops", clip, "", figures=told)})])


if __name__ == "__main__":
    main()
