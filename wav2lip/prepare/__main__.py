"""Prepare a face for repeated or live speech: python -m wav2lip.prepare --face FILE --out FACE.w2l"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from face_detection.build import DETECTORS
from wav2lip.cli import ProgressBars, join_dashed_file_names, run
from wav2lip.engine.option_parsing import add_arguments, file_flags, option_specs, parse_options
from wav2lip.engine.prepared.file import SUFFIX
from wav2lip.engines import ENGINES, SADTALKER, WAV2LIP
from wav2lip.errors import InputError
from wav2lip.infer import find_checkpoint
from wav2lip.lipsync import LipSync, LipSyncOptions
from wav2lip.live.prepare import prepare_face
from wav2lip.sadtalker import SadTalker, SadTalkerOptions
from wav2lip.sadtalker.source.cropping import MODES
from wav2lip.sadtalker.source.detection import PHOTO_DETECTORS

logger = logging.getLogger(__name__)

FILE_FLAGS = (
    "--face",
    "--out",
    "--checkpoint_path",
    "--s3fd_weights",
    "--landmark_weights",
    "--points",
    *file_flags(LipSyncOptions),
)
# Options of `LipSyncOptions` that apply to a photo too, and flags that apply to one engine only.
PHOTO_OPTIONS = ("start", "end", "resize_factor", "crop", "rotate", "faces", "face_at", "face_like", "alike", "cache",
                 "face_det_batch_size", "precision", "compat")  # fmt: skip
LIPSYNC_FLAGS = ("checkpoint_path", "seconds", *(
    option.flag or name for name, option in option_specs(LipSyncOptions).items()
    if option.flag is not None and name not in PHOTO_OPTIONS
))  # fmt: skip
PHOTO_FLAGS = ("checkpoint_dir", "preprocess", "size", "points")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: the face flags of `wav2lip.infer`, and those of SadTalker."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.prepare",
        description="Write everything that an engine computes from a face to one file, which replaces the video or "
        "photo: wav2lip.infer, wav2lip.sadtalker and live speech read it without decoding or detection.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--engine", choices=ENGINES, default=WAV2LIP, help="engine that will use the file")
    add("--face", required=True, metavar="FILE", help="photo or video")
    add("--out", required=True, metavar="FILE", help="result, ends in .w2l")
    add("--note", default="", metavar="TEXT", help="license of the photo and consent of the person, stored in the file")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--detector", choices=PHOTO_DETECTORS, default="auto", help="see the command of the engine")
    add("--s3fd_weights", metavar="FILE", help="see the command of the engine")
    add("--landmark_weights", metavar="FILE", help="see the command of the engine")
    lipsync = parser.add_argument_group("--engine wav2lip")
    lipsync.add_argument(
        "--checkpoint_path", metavar="FILE", help="generator that will speak; default: as in wav2lip.infer"
    )
    lipsync.add_argument("--seconds", type=float, default=20.0, help="length of the used part of a video at most")
    add_arguments(parser, LipSyncOptions)
    photo = parser.add_argument_group("--engine sadtalker")
    photo.add_argument(
        "--checkpoint_dir", default="./checkpoints", metavar="DIR", help="folder with the checkpoints of SadTalker"
    )
    photo.add_argument("--preprocess", choices=MODES, default="crop", help="part of the photo that moves")
    photo.add_argument("--size", type=int, default=256, help="pixels of the renderer, 256 or 512")
    photo.add_argument("--points", type=Path, metavar="FILE", help="file with 68 or 5 landmarks of the photo")
    return parser


def prepare(argv: list[str] | None = None) -> None:
    """Parse the command line and write the file."""
    words = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(join_dashed_file_names(words, FILE_FLAGS))
    if Path(args.out).suffix.lower() != SUFFIX:
        raise InputError(f"--out={args.out}: must end in {SUFFIX}; choose another name")
    if args.engine == SADTALKER:
        prepare_photo(args)
    else:
        prepare_video(args)


def refuse_flags(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Raise InputError for flags that have no effect with the engine."""
    parser = build_parser()
    if unused := [f"--{name}" for name in names if getattr(args, name) != parser.get_default(name)]:
        raise InputError(f"{', '.join(unused)}: without effect with --engine {args.engine}; omit or change it")


def prepare_video(args: argparse.Namespace) -> None:
    """Write the frames and faces of a video for Wav2Lip."""
    refuse_flags(args, PHOTO_FLAGS)
    if args.detector not in DETECTORS:
        raise InputError(f"--detector={args.detector}: requires --engine sadtalker; use {', '.join(DETECTORS)}")
    options = parse_options(LipSyncOptions, args)
    engine = LipSync.from_checkpoint(
        args.checkpoint_path or find_checkpoint(), args.device, args.detector, args.s3fd_weights, args.landmark_weights
    )
    frames, faces = prepare_face(engine, args.face, args.out, options, args.seconds, args.note)
    logger.info("%s: %d frames, %d with the face", args.out, frames, faces)


def prepare_photo(args: argparse.Namespace) -> None:
    """Write the identity of a photo for SadTalker."""
    refuse_flags(args, LIPSYNC_FLAGS)
    parsed = parse_options(LipSyncOptions, args)
    values: dict[str, Any] = {name: getattr(parsed, name) for name in PHOTO_OPTIONS}
    options = SadTalkerOptions(preprocess=args.preprocess, size=args.size, points=args.points, **values)
    engine = SadTalker.from_checkpoint(
        args.checkpoint_dir, args.device, args.detector, args.s3fd_weights, args.landmark_weights
    )
    bars = ProgressBars()
    try:
        identity = engine.prepare(Path(args.face), options, args.note, bars)
    finally:
        bars.close()
    identity.save(args.out)
    logger.info("%s: %s of %s, %d pixels", args.out, args.preprocess, args.face, args.size)


def main() -> None:
    """Run the command."""
    run(prepare)


if __name__ == "__main__":
    main()
