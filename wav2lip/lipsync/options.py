"""How a result is made, and what was made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

from face_detection.build import COMPAT
from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync.blending import BLENDS
from wav2lip.lipsync.choice import check as check_faces
from wav2lip.lipsync.likeness import ALIKE
from wav2lip.lipsync.part import WHOLE, Part
from wav2lip.lipsync.silence import SILENCES
from wav2lip.lipsync.source import NO_FRAMING, Framing
from wav2lip.lipsync.timeline import FITS, SHORTS
from wav2lip.media import Encoding
from wav2lip.media.encoding import DEFAULT_ENCODING

OnProgress = Callable[[str, int, int], object]  # stage, frames done, frames in all

DEFAULT_PADS = Pads()
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Options:
    """How a result is made; the defaults are those of the command line."""

    static: bool = False  # use only the first frame of a video
    fps: float = 25.0  # frames a second, for still pictures only
    pads: Pads = DEFAULT_PADS  # pixels added to detected boxes
    framing: Framing = NO_FRAMING  # shrinking, turning and cutting of the frames
    part: Part = WHOLE  # of a face video, what is used
    fit: str = "loop"  # sound longer than the video: loop, pingpong, freeze, trim
    short: str = "trim"  # video longer than the sound: trim, keep
    box: tuple[int, int, int, int] | None = None  # top, bottom, left, right: a fixed face box, no detection
    smooth: bool = True  # smooth boxes over time
    strict: bool = False  # stop at a frame without a face instead of passing it through
    faces: str | int = "largest"  # largest, leftmost, a number from left to right, from 0: stayed with; or all
    # Seconds after part.start, x and y in pixels of the framed picture: the person who is there.
    face_at: tuple[float, float, float] | None = None
    face_like: Path | None = None  # picture of a face: the person who looks most like it
    alike: float = ALIKE  # likeness, 1 at most, from which a face seen anew is the person of face_at or face_like
    cache: bool = True  # remember the faces of videos from run to run
    face_det_batch_size: int = 16  # frames; cut down on a CPU
    wav2lip_batch_size: int = 128  # frames; cut down on a CPU
    blend: str = "feather"  # how faces go back into the frame: "feather" or, as the release and compat do, "box"
    align: bool = False  # paint tilted heads upright; needs a detector that tells where the eyes are
    silence: str = "ease"  # while nobody speaks: "ease" the mouth shut, or "off", as the release does
    precision: str = "auto"  # of the generator: fp32, bf16, fp16; auto: what the device computes fastest
    enhancer: str | PathLike[str] | None = None  # file of a network that restores the faces
    background_enhancer: str | PathLike[str] | None = None  # file of a network that restores whole frames
    enhancer_strength: float = 1.0  # share of what they make in the result, 0 to 1
    upscale: bool = False  # frames become as large as the background enhancer makes them
    encoding: Encoding = DEFAULT_ENCODING  # codec and quality of the result
    most_pixels: int | None = None  # of a frame of a video that is not trusted: larger ones are left out
    metadata: bool = True  # the result says in its container that its lips are made
    compat: str = "none"  # "public": the release's windows, boxes, paste and frame rates

    @property
    def generator_precision(self) -> str:
        """Precision of the generator; the release computes in 32 bits, and so does "public" unless told otherwise."""
        return "fp32" if self.compat == "public" and self.precision == "auto" else self.precision

    def __post_init__(self) -> None:
        for flag in ("face_det_batch_size", "wav2lip_batch_size"):
            if getattr(self, flag) < 1:
                raise InputError(f"--{flag} is {getattr(self, flag)}; give a whole number from 1 up")
        if not 0 <= self.enhancer_strength <= 1:  # so that NaN is refused too
            raise InputError(f"--enhancer_strength is {self.enhancer_strength}; give a share between 0 and 1")
        if self.enhancer_strength != 1 and self.enhancer is None and self.background_enhancer is None:
            raise InputError("--enhancer_strength needs an --enhancer or a --background_enhancer; give one of them")
        if self.upscale and self.background_enhancer is None:
            raise InputError("--upscale needs a network that makes frames larger; give --background_enhancer FILE")
        for flag, choices in {"blend": BLENDS, "compat": COMPAT, "fit": FITS, "short": SHORTS, "silence": SILENCES,
                              "precision": PRECISIONS}.items():  # fmt: skip
            if getattr(self, flag) not in choices:
                raise InputError(f"--{flag} is {getattr(self, flag)}; choose one of {', '.join(choices)}")
        self._check_faces()

    def _check_faces(self) -> None:
        check_faces(str(self.faces))
        if self.face_at is not None and not all(0 <= value < math.inf for value in self.face_at):
            given = ",".join(f"{value:g}" for value in self.face_at)
            raise InputError(f"--face_at is {given}; give SECONDS,X,Y from 0 up")
        if not -1 <= self.alike <= 1:  # so that NaN is refused too
            raise InputError(f"--alike is {self.alike}; give a likeness between -1 (anyone) and 1 (nobody else)")
        if self.alike != ALIKE and self.face_at is None and self.face_like is None:
            raise InputError("--alike tells the person of --face_at or --face_like; give one of them, or leave it out")
        if self.align and (self.box is not None or self.compat == "public"):
            other = "--box, which says nothing of the eyes" if self.box is not None else "--compat public"
            raise InputError(f"--align does not go with {other}; leave one out")
        asked = {"--faces": self.faces != "largest", "--face_at": self.face_at is not None,
                 "--face_like": self.face_like is not None}  # fmt: skip
        flags = [flag for flag, given in asked.items() if given]
        if len(flags) > 1:
            raise InputError(f"{' and '.join(flags)} each say whose lips are painted; give one of them")
        if flags and (self.box is not None or self.compat == "public"):
            other = "--box" if self.box is not None else "--compat public"
            raise InputError(f"{flags[0]} does not go with {other}, which takes one face as it is; leave one out")


DEFAULTS = Options()


@dataclass(frozen=True)
class Result:
    """What was made."""

    outfile: Path
    frames: int
    fps: Fraction
    without_face: list[tuple[float, float]]  # spans in seconds, from and to, whose frames passed through unchanged
