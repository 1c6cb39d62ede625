"""Measure made videos: python -m wav2lip.evaluate pairs --made DIR --truth DIR --out DIR --expert FILE"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from tqdm import tqdm

from wav2lip.devices import cores
from wav2lip.errors import InputError, run
from wav2lip.evaluation.dataset import RealClip, real_clips
from wav2lip.evaluation.judges import detector_of
from wav2lip.evaluation.lists import DUBBED, PROTOCOLS, RESYNCED, TTS, Pair, read_list
from wav2lip.evaluation.page import write_page
from wav2lip.evaluation.report import write_markdown
from wav2lip.evaluation.results import results_of
from wav2lip.evaluation.resynced import made_ready
from wav2lip.evaluation.running import run as run_all
from wav2lip.evaluation.settings import FRAMES, Settings
from wav2lip.evaluation.systems import SHUFFLED, TRUE, of_checkpoints, of_list, of_pairs, of_videos, videos_in
from wav2lip.evaluation.takes import REAL, System

log = logging.getLogger(__name__)

FILES = {
    "expert": "SyncNet of this or the public project: expert_distance, expert_confidence, expert_offset",
    "syncnet_v2": "syncnet_v2.model: LSE-D and LSE-C",
    "lpips_backbone": "torchvision's AlexNet, for LPIPS",
    "lpips_weights": "alex.pth of LPIPS",
    "fid_weights": "Inception of torch-fidelity, for FID; needs the extra `evaluation`",
    "fid_network": "TorchScript network for FID instead: (N, 3, 299, 299) uint8 to (N, D)",
    "landmark_network": "TorchScript network for LMD: (N, 3, 256, 256) to heat maps (N, 68, h, w)",
    "identity_network": "TorchScript network for identity: (N, 3, 112, 112) in [-1, 1] to (N, D)",
    "s3fd_weights": "S3FD's weights; default: models/s3fd.pth, or the download cache",
}


def build_parser() -> argparse.ArgumentParser:
    """One subcommand for each mode."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.evaluate",
        description="Measure made videos, beside real ones where they are given. docs/evaluation.md has the metrics.",
    )
    modes = parser.add_subparsers(dest="mode", required=True, metavar="MODE")
    add = _mode(modes, "pairs", "made videos against true ones of the same names", pairs)
    add("--made", required=True, type=Path, metavar="DIR", help="folder of made videos, or one")
    add("--truth", required=True, type=Path, metavar="DIR", help="folder of the real ones, or one")
    add = _mode(modes, "videos", "made videos by themselves", videos)
    add("--made", required=True, type=Path, metavar="DIR", help="folder of made videos, or one")
    add("--source", type=Path, metavar="DIR", help="the videos of the same names that the faces were taken from")
    add = _mode(modes, "checkpoint", "a generator on the clips of a data set", checkpoint)
    add("--checkpoint_path", required=True, type=Path, metavar="FILE", help="generator")
    _add_data(add, required=True)
    add("--sound", nargs="+", choices=(TRUE, SHUFFLED), default=[TRUE, SHUFFLED],
        help="its own sound, another clip's, or both (default)")  # fmt: skip
    add = _mode(modes, "filelist", "a generator on one of the paper's lists", filelist)
    add("--checkpoint_path", required=True, type=Path, metavar="FILE", help="generator")
    _add_list(add, required=True)
    add("--data_root", required=True, type=Path, metavar="DIR", help="folder of the videos that it names")
    add = _mode(modes, "compare", "several generators, or folders of made videos", compare)
    add("systems", nargs="+", metavar="NAME=PATH", help="a checkpoint, or a folder of made videos")
    _add_data(add, required=False)
    _add_list(add, required=False)
    add("--truth", type=Path, metavar="DIR", help="folder of the real videos, for folders")
    add("--sound", nargs="+", choices=(TRUE, SHUFFLED), default=[TRUE], help="what checkpoints hear (default: true)")
    return parser


def _add_list(add: Callable[..., object], required: bool) -> None:
    add(
        "--filelist", type=Path, metavar="FILE", help="one of the paper's lists, as published; resynced_dubbed has none"
    )
    add("--protocol", required=required, choices=tuple(PROTOCOLS), help="whose list it is")


def _add_data(add: Callable[..., object], required: bool) -> None:
    add("--data_root", required=required, type=Path, metavar="DIR", help="data set, as python -m preprocess makes it")
    add("--split", default="val", help="name of a list in its filelists/ (default: val)")


def _mode(modes: argparse._SubParsersAction, name: str, what: str, work: Callable) -> Callable[..., object]:
    """A subcommand with the flags that all have."""
    parser = modes.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.set_defaults(work=work)
    add = parser.add_argument
    add("--out", required=True, type=Path, metavar="DIR", help="where results go; a run is taken up again from there")
    for flag, meaning in FILES.items():
        add(f"--{flag}", type=Path, metavar="FILE", help=meaning)
    add("--lse_frames", choices=FRAMES, help="what SyncNet v2 is shown: a square around the face, or whole frames; "
        "default: whole for LRS lists, else track")  # fmt: skip
    add("--detector", choices=["auto", "s3fd", "mtcnn", "haar"], default="auto", help="of faces; auto: S3FD where its "
        "weights are, else MTCNN")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--limit", type=int, metavar="N", help="only the first N clips")
    add("--seed", type=int, default=0, help="of the bootstrap, and of who gets whose sound (default: 0)")
    return add


def pairs(args: argparse.Namespace) -> list[System]:
    """Systems of the mode pairs."""
    if args.made.is_file() and args.truth.is_file():
        return of_pairs({"made": args.made}, {args.made.stem: args.truth})
    return of_pairs({"made": args.made}, videos_in(args.truth), args.limit)


def videos(args: argparse.Namespace) -> list[System]:
    """Systems of the mode videos."""
    made = videos_in(args.made, args.limit)
    if args.source is not None and args.source.is_file():
        return of_videos("made", made, dict.fromkeys(made, args.source))
    return of_videos("made", made, videos_in(args.source) if args.source else {})


def checkpoint(args: argparse.Namespace) -> list[System]:
    """Systems of the mode checkpoint."""
    name = args.checkpoint_path.stem
    return of_checkpoints({name: args.checkpoint_path}, _real(args), args.sound, args.out / "made", args.seed)


def filelist(args: argparse.Namespace) -> list[System]:
    """Systems of the mode filelist."""
    return _on_list({args.checkpoint_path.stem: args.checkpoint_path}, args)


def _on_list(checkpoints: dict[str, Path], args: argparse.Namespace) -> list[System]:
    if (args.filelist is None) != (args.protocol == DUBBED):
        raise InputError(f"--protocol {args.protocol}: give --filelist FILE, the list itself; {DUBBED} alone has none")
    if args.protocol == DUBBED:
        found = [Pair(n, file, file) for n, file in enumerate(videos_in(args.data_root, args.limit).values())]
    else:
        found = read_list(args.filelist, args.data_root, args.protocol, args.limit)
    if PROTOCOLS[args.protocol] == RESYNCED:
        found = made_ready(found, args.out / "shown", lengthen=args.protocol == TTS)
    return of_list(checkpoints, found, args.protocol, args.data_root, args.out / "made")


def compare(args: argparse.Namespace) -> list[System]:
    """Systems of the mode compare."""
    given = _named(args.systems)
    checkpoints = {name: path for name, path in given.items() if path.is_file()}
    folders = {name: path for name, path in given.items() if name not in checkpoints}
    if checkpoints and args.data_root is None:
        raise InputError(f"{next(iter(checkpoints.values()))}: is a checkpoint; give --data_root of clips to run it on")
    if folders and args.truth is None and args.data_root is None:
        raise InputError(f"{next(iter(folders.values()))}: is a folder; give --truth, a folder of the real videos")
    if checkpoints and args.truth is not None:
        raise InputError(
            "--truth: beside checkpoints, folders are compared with the clips of --data_root; leave it out"
        )
    if args.filelist is not None and args.protocol is None:
        raise InputError("--filelist: says nothing without --protocol, whose list it is; give both")
    if args.protocol is not None:
        if folders:
            raise InputError(f"{next(iter(folders.values()))}: is a folder; --protocol is for checkpoints alone")
        return _on_list(checkpoints, args)
    if args.truth is not None:
        return of_pairs(folders, videos_in(args.truth), args.limit)
    clips = _real(args)
    systems = of_checkpoints(checkpoints, clips, args.sound, args.out / "made", args.seed)
    if folders:
        _, *made = of_pairs(folders, {clip.clip: clip.video for clip in clips})
        systems += [_faces_only(system) for system in made]
    return systems


def _faces_only(system: System) -> System:
    return System(system.name, tuple(replace(take, face_only=True) for take in system.takes))


def _named(words: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise InputError(f"{word}: give NAME=PATH, such as tuned=checkpoints/best.pth")
        if name in (*found, REAL) or "/" in name or name.startswith("."):
            raise InputError(f"{word}: {name} cannot be its name; give each another, without a slash, and not {REAL}")
        if not Path(path).exists():
            raise InputError(f"{word}: there is no {path}; check the path")
        found[name] = Path(path)
    return found


def _real(args: argparse.Namespace) -> list[RealClip]:
    with tqdm(desc="real clips", unit="clip") as bar:
        return real_clips(args.data_root, args.split, args.out / "real", args.limit, _shown_on(bar))


def _shown_on(bar: tqdm) -> Callable[[int, int], object]:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def settings_of(args: argparse.Namespace) -> Settings:
    """Flags to settings; a detector that is left open is the one that there is."""
    given = {field.name: getattr(args, field.name) for field in fields(Settings)}
    if given["lse_frames"] is None:
        protocol = getattr(args, "protocol", None) or RESYNCED
        given["lse_frames"] = "track" if PROTOCOLS[protocol] == RESYNCED else "whole"
    settings = Settings(**given)
    return replace(settings, detector=detector_of(settings).name)


def evaluate(argv: list[str] | None = None) -> None:
    """Parse, build, run."""
    args = build_parser().parse_args(argv)
    for flag in ("workers", "limit"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise InputError(f"--{flag} is {getattr(args, flag)}; give a whole number from 1 up")
    if args.workers > cores():
        log.info("--workers %d: this machine has %d cores", args.workers, cores())
    settings = settings_of(args)
    systems = args.work(args)
    with tqdm(desc="clips", unit="clip") as bar:
        records = run_all(systems, settings, args.out, args.workers, _shown_on(bar))
    if all(record.failed for some in records.values() for record in some):
        raise InputError(f"no video could be measured; the first: {next(iter(records.values()))[0].failed}")
    results = results_of(f"wav2lip.evaluate {args.mode}", args.seed, settings, records, args.out)
    for path in (results.write_json(), write_markdown(results), write_page(results)):
        log.info("%s", path)


def main() -> None:
    """Entry point."""
    run(evaluate)


if __name__ == "__main__":
    main()
