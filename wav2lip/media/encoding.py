"""How the pictures of a result are compressed, as far as the FFmpeg at hand can."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import imageio_ffmpeg

from wav2lip.errors import InputError

CRF = 18  # hard to tell from the source
LARGEST_CRF = 63  # the scales of H.264 and HEVC end at 51, those of VP9 and AV1 here
PRESET = "veryfast"  # of x264, which shares its processors with the networks; see docs/inference.md
PIXELS = "yuv420p"  # what every player shows
APPLE = (".mp4", ".mov", ".m4v")


@dataclass(frozen=True)
class Encoding:
    """Codec and quality of a video; what is None is chosen to suit the codec."""

    codec: str = "libx264"  # an encoder of FFmpeg
    crf: float | None = None  # constant quality, 0 (lossless) to 51, or 63; 18 where the codec knows it
    preset: str | None = None  # speed against size, in the codec's own words
    pix_fmt: str | None = None  # pixel format; yuv420p where the codec takes it

    def __post_init__(self) -> None:
        if self.crf is not None and not 0 <= self.crf <= LARGEST_CRF:
            raise InputError(f"--crf is {self.crf:g}; give 0 (lossless) to 51, or to {LARGEST_CRF} for VP9 and AV1")

    def options(self, suffix: str) -> dict[str, object]:
        """FFmpeg's options for a video in a container of that suffix.

        Raises: InputError if the FFmpeg at hand has no such encoder, or that has no such option or pixel format.
        """
        if self == DEFAULT_ENCODING:  # so that the usual run starts no process to ask
            return {"c:v": self.codec, "crf": CRF, "preset": PRESET, "pix_fmt": PIXELS}
        encoder = _encoder(ffmpeg_binary(), self.codec)
        for flag in ("crf", "preset"):
            if getattr(self, flag) is not None and flag not in encoder.flags:
                raise InputError(f"--{flag} says nothing to --codec {self.codec}; leave it out")
        if self.pix_fmt not in {None, *encoder.pixels}:
            raise InputError(
                f"--pix_fmt {self.pix_fmt} is not among those of --codec {self.codec}; give {', '.join(encoder.pixels)}"
            )
        chosen: dict[str, object] = {"c:v": self.codec}
        chosen["pix_fmt"] = self.pix_fmt or (PIXELS if PIXELS in encoder.pixels else encoder.pixels[0])
        if "crf" in encoder.flags:
            chosen["crf"] = CRF if self.crf is None else f"{self.crf:g}"
        if self.preset or self.codec == "libx264":
            chosen["preset"] = self.preset or PRESET
        if self.codec in {"libvpx", "libvpx-vp9"}:
            chosen["b:v"] = 0  # else its 200 kbit/s, not the crf, say what is left
        if self.codec == "libx265":
            chosen["x265-params"] = "log-level=error"
            if suffix in APPLE:
                chosen["tag:v"] = "hvc1"  # Apple's players know HEVC by no other name
        return chosen

    def try_out(self, path: Path, suffix: str) -> None:
        """Write one black frame to `path`, so that what FFmpeg refuses is known before any work.

        Raises: InputError with FFmpeg's own words.
        """
        if self == DEFAULT_ENCODING:
            return
        words = [word for option, value in self.options(suffix).items() for word in (f"-{option}", str(value))]
        black = ["-f", "lavfi", "-i", "color=black:s=128x128:r=25", "-frames:v", "1"]
        command = [ffmpeg_binary(), "-loglevel", "error", *black, *words, "-y", str(path.resolve())]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if ended.returncode:
            asked = " ".join(f"--{flag} {value}" for flag, value in vars(self).items() if value is not None)
            why = causes(ended.stderr) or f"it ended with code {ended.returncode}"
            raise InputError(f"{asked}: FFmpeg cannot write that to a {suffix} file ({why}); choose others")


DEFAULT_ENCODING = Encoding()


@dataclass(frozen=True)
class Encoder:
    """What FFmpeg says of one of its encoders."""

    pixels: tuple[str, ...]  # pixel formats
    flags: frozenset[str]  # names of its own options


@lru_cache
def _encoder(binary: str, name: str) -> Encoder:
    command = [binary, "-hide_banner", "-h", f"encoder={name}"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).stdout.decode(errors="replace")
    pixels = re.search(r"Supported pixel formats: (.+)", said)
    if f"Encoder {name} [" not in said or pixels is None:
        raise InputError(
            f"--codec {name}: the FFmpeg at hand ({binary}) has no such encoder of video; give one that "
            "'ffmpeg -encoders' lists, such as libx264 or libx265"
        )
    return Encoder(tuple(pixels[1].split()), frozenset(re.findall(r"^ +-(\w+) ", said, re.MULTILINE)))


def ffmpeg_binary() -> str:
    """The FFmpeg on the PATH, or the one that comes with imageio-ffmpeg."""
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def causes(messages: bytes) -> str:
    """What FFmpeg says of its failure: its first line is the cause and the last the outcome."""
    lines = messages.decode(errors="replace").strip().splitlines()
    said = dict.fromkeys(re.sub(r"^(\[[^]]*\] *)+", "", line).strip(" .") for line in lines[:1] + lines[-1:])
    return "; ".join(said)


def is_rgb(pixels: str) -> bool:
    """Whether a pixel format holds red, green and blue, to which no colour matrix applies."""
    return bool(re.search("rgb|bgr|gbr", pixels))


def needs_even_sizes(pixels: str) -> bool:
    """Whether a pixel format has fewer samples of colour than of brightness."""
    return not is_rgb(pixels) and not re.search("444|gray", pixels)
