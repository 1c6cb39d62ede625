"""Animate a photo: python -m wav2lip.sadtalker --driven_audio FILE --source_image FILE"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from wav2lip.cli import ProgressBars, join_dashed_file_names, run
from wav2lip.engine.option_parsing import add_arguments, file_flags, parse_options
from wav2lip.errors import InputError
from wav2lip.lipsync.mouth_stage import MouthStage
from wav2lip.restoration.files import find_restorer
from wav2lip.sadtalker import SadTalker, SadTalkerOptions
from wav2lip.sadtalker.source.detection import PHOTO_DETECTORS

logger = logging.getLogger(__name__)

FILE_FLAGS = (
    "--source_image",
    "--driven_audio",
    "--outfile",
    "--s3fd_weights",
    "--landmark_weights",
    *file_flags(SadTalkerOptions),
)
# Flags of SadTalker's inference.py for its mesh video, which change nothing in a result.
UNUSED_FLAGS = ("net_recon", "init_path", "use_last_fc", "bfm_folder", "bfm_model", "focal", "center", "camera_d",
                "z_near", "z_far")  # fmt: skip
DETECTOR_HELP = "face detector of the photo; auto: RetinaFace if its file is there, else MTCNN; both have landmarks"
RESULT_NAME = "%Y_%m_%d_%H.%M.%S"  # format of SadTalker's results


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: SadTalker's flags and more, see `SadTalkerOptions`."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.sadtalker",
        description="Generate a video of the person in a photo who speaks the given audio, with the checkpoints of "
        "SadTalker.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--source_image", required=True, metavar="FILE", help="photo, video or prepared face (.w2l)")
    add("--driven_audio", metavar="FILE", help="file with audio; may be a video")
    add("--checkpoint_dir", default="./checkpoints", metavar="DIR", help="folder with the checkpoints")
    add("--result_dir", default="./results", metavar="DIR", help="folder of the result, which is named by the time")
    add("--outfile", metavar="FILE", help="result, instead of --result_dir; missing folders are created")
    add_arguments(parser, SadTalkerOptions)
    add("--detector", choices=PHOTO_DETECTORS, default="auto", help=DETECTOR_HELP)
    add("--s3fd_weights", metavar="FILE", help="S3FD weights; default: models/s3fd.pth, or the download cache")
    add("--landmark_weights", metavar="FILE", help="2DFAN4, without FAN-98 in the checkpoints; default: torch's cache")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; several share the work: cuda:0,cuda:1")
    add("--cpu", action="store_true", help="same as --device cpu")
    add("--old_version", action="store_true", help="use the files of SadTalker 0.0.1")
    add("--verbose", action="store_true", help="keep coefficients, landmarks and crop in a folder beside the result")
    add("--face3dvis", action="store_true", help="not supported: requires the Basel Face Model")
    for flag in UNUSED_FLAGS:
        add(f"--{flag}", nargs="?", help=argparse.SUPPRESS)
    return parser


def parse_request(args: argparse.Namespace) -> SadTalkerOptions:
    """Build the options. Raises: InputError for flags that are not supported."""
    if args.face3dvis:
        raise InputError("--face3dvis: not supported, as it requires the Basel Face Model; remove it")
    unused = [f"--{flag}" for flag in UNUSED_FLAGS if getattr(args, flag) is not None]
    if unused:
        logger.warning("%s: without effect, as in SadTalker without --face3dvis", ", ".join(unused))
    for flag in ("enhancer", "background_enhancer"):
        setattr(args, flag, find_restorer(getattr(args, flag), args.checkpoint_dir))
    return parse_options(SadTalkerOptions, args)


def animate(argv: list[str] | None = None) -> None:
    """Parse the command line, load the networks and write the video."""
    words = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(join_dashed_file_names(words, FILE_FLAGS))
    options = parse_request(args)
    device = "cpu" if args.cpu else args.device
    outfile = Path(args.outfile or Path(args.result_dir) / f"{time.strftime(RESULT_NAME)}.mp4")
    engine = SadTalker.from_checkpoint(
        args.checkpoint_dir, device, args.detector, args.s3fd_weights, args.landmark_weights,
        args.old_version,
        lambda path: MouthStage.from_checkpoint(path, device, args.s3fd_weights),
    )  # fmt: skip
    bars = ProgressBars()
    audio = None if args.driven_audio is None else Path(args.driven_audio)
    folder = outfile.with_suffix("") if args.verbose else None
    try:
        result = engine(Path(args.source_image), audio, outfile, options, bars, intermediate_dir=folder)
    finally:
        bars.close()
    logger.info("%s: %d frames at %.5g fps", result.outfile, result.frames, float(result.fps))


def main() -> None:
    """Run the command."""
    run(animate)


if __name__ == "__main__":
    main()
