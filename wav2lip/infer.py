"""Lip-sync a video or an image: python -m wav2lip.infer --face FILE --audio FILE [--checkpoint_path FILE]"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from face_detection.build import DETECTORS
from wav2lip.checkpoints import has_generator
from wav2lip.cli import ProgressBars, join_dashed_file_names, run
from wav2lip.engine.option_parsing import add_arguments, file_flags, parse_options
from wav2lip.errors import InputError
from wav2lip.lipsync import LipSync, LipSyncOptions, Result

logger = logging.getLogger(__name__)

FILE_FLAGS = (
    "--checkpoint_path", "--face", "--audio", "--outfile", "--s3fd_weights", "--landmark_weights",
    *file_flags(LipSyncOptions),
)  # fmt: skip
MAX_LOGGED_SPANS = 10
DEFAULT_CHECKPOINTS = (Path("models/wav2lip_gan.pth"), Path("models/wav2lip.pth"))
TRAINED, BEST = Path("checkpoints"), "best.pth"


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: upstream's flags and more, see `LipSyncOptions`."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.infer",
        description="Generate a video of a face that speaks the given audio, with a Wav2Lip checkpoint of this project "
        "or of upstream.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--checkpoint_path",
        metavar="FILE",
        help="generator checkpoint, or a file of wav2lip.export; default: models/wav2lip_gan.pth, else "
        "models/wav2lip.pth, else the newest generator best.pth under checkpoints/",
    )
    add("--face", required=True, metavar="FILE", help="video or image with a face")
    add(
        "--audio", required=True, action="append", metavar="FILE",
        help="file with audio; may be a video; once for each face of --faces 0,1 or --face_like, mixed in the result",
    )  # fmt: skip
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help="result; missing folders are created")
    add_arguments(parser, LipSyncOptions)
    add("--detector", choices=DETECTORS, default="auto", help="auto: S3FD if its weights are available, else MTCNN")
    add("--s3fd_weights", metavar="FILE", help="S3FD weights; default: models/s3fd.pth, upstream's place, or the cache")
    add(
        "--landmark_weights",
        metavar="FILE",
        help="2DFAN4, for --align and --enhancer where the detector has no landmarks; default: torch's cache, else the "
        "package face-alignment",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; several share the work: cuda:0,cuda:1")
    return parser


def find_checkpoint(folder: Path = Path()) -> Path:
    """Return the generator to use without --checkpoint_path, and log it.

    folder: where `DEFAULT_CHECKPOINTS` and checkpoints/ are looked up.
    Raises: InputError if there is none.
    """
    published = [path for name in DEFAULT_CHECKPOINTS if (path := folder / name).is_file()]
    trained = sorted((folder / TRAINED).rglob(BEST), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in (*published, *trained):
        if path in published or has_generator(path):
            logger.info("checkpoint: %s", path)
            return path
    raise InputError(
        f"--checkpoint_path: no {' or '.join(map(str, DEFAULT_CHECKPOINTS))}, and no generator's {BEST} under "
        f"{TRAINED}; give the file of a generator"
    )


def log_result(result: Result) -> None:
    """Log the result and its spans without a face."""
    logger.info("%s: %d frames at %.5g fps", result.outfile, result.frames, float(result.fps))
    if result.held_back:
        logger.info(
            "%d of %d frames held back: something covers a mouth, a head is turned too far, or the generator does not "
            "know the face; remove --gate to paint them",
            result.held_back,
            result.frames,
        )
    if result.without_face:
        spans = ", ".join(f"{start:.2f}-{end:.2f} s" for start, end in result.without_face[:MAX_LOGGED_SPANS])
        more = len(result.without_face) - MAX_LOGGED_SPANS
        logger.info("no face, frames unchanged: %s%s", spans, f" and {more} more spans" if more > 0 else "")


def infer(argv: list[str] | None = None) -> None:
    """Parse the command line, load the generator and write the video."""
    args = build_parser().parse_args(join_dashed_file_names(sys.argv[1:] if argv is None else argv, FILE_FLAGS))
    options = parse_options(LipSyncOptions, args)
    lipsync = LipSync.from_checkpoint(
        args.checkpoint_path or find_checkpoint(), args.device, args.detector, args.s3fd_weights, args.landmark_weights
    )
    bars = ProgressBars()
    try:
        result = lipsync(Path(args.face), list(map(Path, args.audio)), Path(args.outfile), options, bars)
    finally:
        bars.close()
    log_result(result)


def main() -> None:
    """Run the command."""
    run(infer)


if __name__ == "__main__":
    main()
