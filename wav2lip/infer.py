"""Lip-sync a video or a picture: python -m wav2lip.infer --checkpoint_path FILE --face FILE --audio FILE"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tqdm import tqdm

from face_detection.build import COMPAT
from wav2lip import mps_fallback  # noqa: F401  # before torch
from wav2lip.crops import Pads
from wav2lip.errors import run
from wav2lip.lipsync import LipSync, Options, Part, Result
from wav2lip.lipsync.blending import BLENDS
from wav2lip.lipsync.likeness import ALIKE
from wav2lip.lipsync.options import PRECISIONS
from wav2lip.lipsync.part import seconds
from wav2lip.lipsync.silence import SILENCES
from wav2lip.lipsync.source import Framing
from wav2lip.lipsync.timeline import FITS, SHORTS
from wav2lip.media import Encoding
from wav2lip.media.encoding import PRESET

log = logging.getLogger(__name__)

FILE_FLAGS = (
    "--checkpoint_path", "--face", "--audio", "--outfile", "--s3fd_weights", "--enhancer", "--background_enhancer",
    "--face_like",
)  # fmt: skip


def truth(text: str) -> bool:
    """True or False from what a person types after a flag."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def point(text: str) -> tuple[float, float, float]:
    """Seconds, x and y from what a person types after a flag."""
    try:
        seconds, x, y = map(float, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not SECONDS,X,Y, as 3.5,200,180 is") from error
    return seconds, x, y


def with_dashed_names(words: list[str]) -> list[str]:
    """A command line whose file names may begin with a dash, which argparse would take for a flag's."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in FILE_FLAGS and word.startswith("-") and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def build_parser() -> argparse.ArgumentParser:
    """The flags of the public release, and a few more."""
    parser = argparse.ArgumentParser(
        prog="python -m wav2lip.infer",
        description="Make a video of a face saying a sound, with a Wav2Lip generator of this or the public project.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint_path", required=True, metavar="FILE",
        help="generator checkpoint, or what wav2lip.export made of one")  # fmt: skip
    add("--face", required=True, metavar="FILE", help="video or picture with a face")
    add("--audio", required=True, metavar="FILE", help="any file with sound, a video included")
    add("--outfile", default="results/result_voice.mp4", metavar="FILE", help="the result; its folder is made")
    add("--static", type=truth, default=False, nargs="?", const=True, metavar="BOOL",
        help="use only the first frame of a video")  # fmt: skip
    add("--fps", type=float, default=25.0, help="frames a second, for a picture only")
    add("--start", type=seconds, metavar="TIME", help="use the face video from here on; s, MM:SS.s or HH:MM:SS.s")
    add("--end", type=seconds, metavar="TIME", help="use the face video up to here")
    add("--fit", choices=FITS, default="loop",
        help="sound longer than the video: begin it again, run it to and fro, hold its end or end with it")  # fmt: skip
    add("--short", choices=SHORTS, default="trim",
        help="video longer than the sound: end with the sound, or go on with the mouth as it is")  # fmt: skip
    add("--pads", type=int, nargs=4, default=[0, 10, 0, 0], metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="pixels added to the face box; more at the bottom if the chin is cut")  # fmt: skip
    add("--face_det_batch_size", type=int, default=16, metavar="N",
        help="frames per batch of face detection; a CPU takes 8 at most")  # fmt: skip
    add("--wav2lip_batch_size", type=int, default=128, metavar="N",
        help="frames per batch of the generator; a CPU takes 8 at most, where more are slower")  # fmt: skip
    add("--resize_factor", type=int, default=1, metavar="N", help="divide the frame size by this")
    add("--crop", type=int, nargs=4, default=[0, -1, 0, -1], metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="part of the frame to use, after resizing and rotation; -1: to the edge")  # fmt: skip
    add("--box", type=int, nargs=4, default=[-1, -1, -1, -1], metavar=("TOP", "BOTTOM", "LEFT", "RIGHT"),
        help="fixed face box instead of detection; pads and smoothing do not apply")  # fmt: skip
    add("--rotate", action="store_true", help="turn frames by 90 degrees clockwise, before the crop")
    add("--nosmooth", action="store_true", help="do not smooth face boxes over time")
    add("--strict", action="store_true", help="stop at a frame without a face instead of passing it through")
    add("--blend", choices=BLENDS, default="feather",
        help="feather: softly, the lower face alone, in the frame's colours; box: all of the box, as always with "
             "--compat public")  # fmt: skip
    add("--align", action="store_true", help="paint tilted heads upright and turn the lips back; with --detector mtcnn")
    add("--silence", choices=SILENCES, default="ease",
        help="ease: the mouth shuts while nobody speaks; off: it does as the generator has it")  # fmt: skip
    add("--enhancer", metavar="FILE", help="network that restores the faces: GFPGAN, RestoreFormer ...")
    add("--background_enhancer", metavar="FILE", help="network that restores whole frames: Real-ESRGAN ...")
    add("--enhancer_strength", type=float, default=1.0, metavar="SHARE",
        help="share of what the enhancers make in the result, 0 to 1")  # fmt: skip
    add("--upscale", action="store_true", help="make frames as large as the background enhancer does")
    add("--faces", default="largest", metavar="WHICH",
        help="largest or leftmost: stays with that person; 0, 1, 2 ...: from left to right; all: everyone")  # fmt: skip
    add("--face_at", type=point, metavar="SECONDS,X,Y",
        help="the person at this point, in pixels after --resize_factor, --rotate and --crop, at this time after "
             "--start; looks at the video first")  # fmt: skip
    add("--face_like", type=Path, metavar="FILE",
        help="the person who looks most like the face in this picture, by plain appearance")  # fmt: skip
    add("--alike", type=float, default=ALIKE, metavar="SHARE",
        help="with --face_at and --face_like: a face seen anew that is so alike is the same person")  # fmt: skip
    add("--no_cache", action="store_true", help="do not remember the faces of the video for the next run")
    detectors = ["auto", "s3fd", "mtcnn", "haar"]
    add("--detector", choices=detectors, default="auto", help="auto: S3FD where its weights are, else MTCNN")
    add("--s3fd_weights", metavar="FILE", help="S3FD weights; default: models/s3fd.pth, or the download cache")
    add("--device", default="auto",
        help="auto, cpu, cuda, cuda:N or mps; several share the work: cuda:0,cuda:1")  # fmt: skip
    add("--precision", choices=PRECISIONS, default="auto",
        help="of the generator; auto: what the device computes fastest, within a grey level of fp32")  # fmt: skip
    add("--codec", default="libx264", metavar="NAME", help="video encoder of FFmpeg: libx264, libx265, libvpx-vp9, ...")
    add("--crf", type=float, metavar="N", help="constant quality, 0: lossless; default: 18 where the codec has it")
    add("--preset", metavar="NAME", help=f"speed against size, in the codec's words; default of libx264: {PRESET}")
    add("--pix_fmt", metavar="NAME", help="pixel format; default: yuv420p where the codec has it")
    add("--no_metadata", action="store_true", help="do not note in the result that its lips are made")
    add("--compat", choices=COMPAT, default="none",
        help="public: do as the release does where it is odd, see docs/differences.md")  # fmt: skip
    return parser


def options_of(args: argparse.Namespace) -> Options:
    """Flags to options."""
    return Options(
        static=args.static,
        fps=args.fps,
        pads=Pads(*args.pads),
        framing=Framing(args.resize_factor, args.rotate, tuple(args.crop)),
        part=Part(args.start or 0.0, args.end),
        fit=args.fit,
        short=args.short,
        box=None if args.box[0] == -1 else tuple(args.box),
        smooth=not args.nosmooth,
        strict=args.strict,
        faces=args.faces,
        face_at=args.face_at,
        face_like=args.face_like,
        alike=args.alike,
        cache=not args.no_cache,
        face_det_batch_size=args.face_det_batch_size,
        wav2lip_batch_size=args.wav2lip_batch_size,
        blend=args.blend,
        align=args.align,
        silence=args.silence,
        precision=args.precision,
        enhancer=args.enhancer,
        background_enhancer=args.background_enhancer,
        enhancer_strength=args.enhancer_strength,
        upscale=args.upscale,
        encoding=Encoding(args.codec, args.crf, args.preset, args.pix_fmt),
        metadata=not args.no_metadata,
        compat=args.compat,
    )


class Bars:
    """A progress bar for each stage, one after the other."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` frames of a stage are done."""
        if stage != self._stage:
            self.close()
            self._stage, self._bar = stage, tqdm(total=total, desc=stage, unit="frame")
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the last bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def report(result: Result) -> None:
    """Say what was made, and where it had no face."""
    log.info("%s: %d frames at %.5g a second", result.outfile, result.frames, float(result.fps))
    if result.without_face:
        spans = ", ".join(f"{start:.2f}-{end:.2f} s" for start, end in result.without_face[:10])
        more = len(result.without_face) - 10
        log.info("no face, frames left unchanged: %s%s", spans, f" and {more} more spans" if more > 0 else "")


def infer(argv: list[str] | None = None) -> None:
    """Parse, build, run."""
    args = build_parser().parse_args(with_dashed_names(sys.argv[1:] if argv is None else argv))
    options = options_of(args)
    lipsync = LipSync.from_checkpoint(args.checkpoint_path, args.device, args.detector, args.s3fd_weights)
    bars = Bars()
    try:
        result = lipsync(Path(args.face), Path(args.audio), Path(args.outfile), options, bars)
    finally:
        bars.close()
    report(result)


def main() -> None:
    """Entry point."""
    run(infer)


if __name__ == "__main__":
    main()
