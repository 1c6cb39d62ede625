"""Options of the SadTalker engine; flags of SadTalker's inference.py keep their names and defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from models.sadtalker.audio2pose import NUM_STYLES
from wav2lip.engine.face_selection import SPEAKING
from wav2lip.engine.option_parsing import ClientLimits, RequestOptions, spec
from wav2lip.engine.options import FaceSelectionOptions, InputOptions, OutputOptions
from wav2lip.errors import InputError
from wav2lip.sadtalker.source.cropping import MODES

MAX_DEGREES = 90
MAX_IDLE_S = 3600.0
ANY = ClientLimits()
SCALES = ClientLimits(0, 3)
ANGLES = ClientLimits(-MAX_DEGREES, MAX_DEGREES)


@dataclass(frozen=True, kw_only=True)
class MotionOptions(RequestOptions):
    """Motion of the head and the face."""

    pose_style: int = field(
        default=0, metadata=spec("style of head motion, 0 to 45", parse=int, client=ClientLimits(0, NUM_STYLES - 1))
    )
    still: bool = field(
        default=False, metadata=spec("keep the head still; face and eyes move, best with --preprocess full", client=ANY)
    )
    blink: str = field(
        default="auto",
        metadata=spec(
            "auto: from --ref_eyeblink if given, otherwise at random; off: eyes stay open; ref: from --ref_eyeblink",
            parse=str, label="Blinks", client=ANY,
            choices={"auto": "Automatic", "off": "None", "ref": "From the reference video"},
        ),
    )  # fmt: skip
    expression_scale: float = field(
        default=1.0, metadata=spec("factor of the expression: larger moves the face more", parse=float, client=SCALES)
    )
    head_motion_scale: float = field(
        default=1.0, metadata=spec("factor of the head motion around the pose of the photo", parse=float, client=SCALES)
    )
    ref_eyeblink: Path | None = field(
        default=None, metadata=spec("video whose eyes and brows the face follows", parse=Path, metavar="FILE")
    )
    ref_pose: Path | None = field(
        default=None, metadata=spec("video whose head motion is added to the predicted one", parse=Path, metavar="FILE")
    )
    ref_video: Path | None = field(
        default=None, metadata=spec("video from which --ref_info is taken", parse=Path, metavar="FILE")
    )
    ref_info: str = field(
        default="all",
        metadata=spec(
            "motion that is taken from --ref_video; all: its expression and head motion, without audio2exp",
            parse=str, label="Motion of the reference video", client=ANY,
            choices={"pose": "Head motion", "blink": "Blinks", "pose+blink": "Head motion and blinks",
                     "all": "All motion"},
        ),
    )  # fmt: skip
    input_yaw: tuple[int, ...] | None = field(
        default=None,
        metadata=spec("yaw of the head in degrees, from one value to the next", parse=int, metavar="DEGREES",
                      is_list=True, client=ANGLES),
    )  # fmt: skip
    input_pitch: tuple[int, ...] | None = field(
        default=None,
        metadata=spec("pitch of the head in degrees", parse=int, metavar="DEGREES", is_list=True, client=ANGLES),
    )
    input_roll: tuple[int, ...] | None = field(
        default=None,
        metadata=spec("roll of the head in degrees", parse=int, metavar="DEGREES", is_list=True, client=ANGLES),
    )
    idle: float | None = field(
        default=None,
        metadata=spec(
            "seconds of a loopable video without speech", parse=float, metavar="SECONDS", client=ClientLimits(0.04, 60)
        ),
    )  # fmt: skip
    seed: int = field(
        default=0,
        metadata=spec("seed of blinks and head motion", parse=int, metavar="N", client=ClientLimits(0, 2**31)),
    )

    @property
    def eye_video(self) -> Path | None:
        """Video whose eyes and brows the face follows."""
        if self.blink == "off":
            return None
        return self.ref_video if self.ref_video is not None and "blink" in self.ref_info else self.ref_eyeblink

    @property
    def pose_video(self) -> Path | None:
        """Video whose head motion is added."""
        return self.ref_video if self.ref_video is not None and "pose" in self.ref_info else self.ref_pose

    @property
    def full_video(self) -> Path | None:
        """Video that replaces all predicted motion."""
        return self.ref_video if self.ref_info == "all" else None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pose_style < NUM_STYLES:
            raise InputError(f"--pose_style={self.pose_style}: must be from 0 to {NUM_STYLES - 1}")
        for name in ("expression_scale", "head_motion_scale"):
            if not 0 <= getattr(self, name) < math.inf:  # rejects NaN too
                raise InputError(f"--{name}={getattr(self, name)}: must be a finite number from 0")
        for name in ("input_yaw", "input_pitch", "input_roll"):
            degrees = getattr(self, name)
            if degrees is not None and not (degrees and all(abs(value) <= MAX_DEGREES for value in degrees)):
                raise InputError(f"--{name}={list(degrees)}: must be degrees from -{MAX_DEGREES} to {MAX_DEGREES}")
        if self.idle is not None and not 0 < self.idle <= MAX_IDLE_S:
            raise InputError(f"--idle={self.idle:g}: must be seconds above 0 and at most {MAX_IDLE_S:g}")
        self._check_reference_videos()

    def _check_reference_videos(self) -> None:
        if self.ref_video is None and self.ref_info != "all":
            raise InputError(f"--ref_info={self.ref_info}: requires --ref_video; add it")
        for name in ("ref_eyeblink", "ref_pose"):
            if self.ref_video is not None and getattr(self, name) is not None:
                raise InputError(f"--ref_video and --{name}: exclude each other; keep one of them")
        if self.blink == "ref" and self.eye_video is None:
            raise InputError("--blink=ref: requires a video; add --ref_eyeblink FILE")
        if self.blink == "off" and self.ref_eyeblink is not None:
            raise InputError("--blink=off: cannot be combined with --ref_eyeblink; remove one of them")
        if self.idle is not None and self.full_video is not None:
            raise InputError("--idle: cannot be combined with all motion of --ref_video; remove one of them")


@dataclass(frozen=True, kw_only=True)
class SadTalkerOptions(MotionOptions, OutputOptions, FaceSelectionOptions, InputOptions):
    """Options of one request; the defaults are those of `python -m wav2lip.sadtalker`."""

    static: bool = field(default=False, metadata=spec("search the face in the first frame only", flag=None))
    fps: float = field(
        default=25.0, metadata=spec("frames per second of the result", parse=float, client=ClientLimits(1, 60))
    )
    preprocess: str = field(
        default="crop",
        metadata=spec(
            "part of the photo that moves; crop: the face; extcrop: with a border; resize: the whole photo; full, "
            "extfull: crop or extcrop, blended back into the photo",
            parse=str, label="Part of the photo", client=ANY,
            choices={"crop": "Face", "extcrop": "Face with border", "resize": "Whole photo",
                     "full": "Face, in the photo", "extfull": "Face with border, in the photo"},
        ),
    )  # fmt: skip
    size: int = field(
        default=256, metadata=spec("pixels of the renderer, 256 or 512", parse=int, client=ClientLimits(256, 512))
    )
    batch_size: int = field(
        default=2, metadata=spec("frames per call of the renderer and device", parse=int, metavar="N")
    )
    points: Path | None = field(
        default=None,
        metadata=spec(
            "file with 68 or 5 landmarks of the photo, x and y per line, for drawn faces and animals",
            parse=Path, metavar="FILE",
        ),
    )  # fmt: skip
    mouth: Path | None = field(
        default=None,
        metadata=spec("Wav2Lip generator that draws the mouth into the animated head", parse=Path, metavar="FILE"),
    )
    precision: str = field(
        default="auto",
        metadata=spec(
            "precision of the renderer; auto: the fastest of the device",
            parse=str, choices={name: name for name in ("auto", "fp32", "bf16", "fp16")},
        ),
    )  # fmt: skip
    compat: str = field(
        default="none",
        metadata=spec(
            "public: reproduce quirks of SadTalker, see docs/differences.md",
            parse=str, choices={"none": "none", "public": "public"}, client=ANY,
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.preprocess in MODES
        if self.size not in (256, 512):
            raise InputError(f"--size={self.size}: must be 256 or 512")
        if self.batch_size < 1:
            raise InputError(f"--batch_size={self.batch_size}: must be at least 1")
        if len(self.face_like) > 1:
            raise InputError("--face_like: only one face of a photo can be animated; give one image")
        if self.faces in ("all", SPEAKING) or self.num_voices > 1:
            raise InputError(
                f"--faces={self.faces}: only one face of a photo can be animated; use largest, leftmost or 0, 1, 2"
            )
        if self.points is not None and self.selection_flags:
            raise InputError(f"--points and {self.selection_flags[0]}: both select the face; keep one of them")
        if self.mouth is not None and (self.idle is not None or self.full_video is not None):
            raise InputError("--mouth: requires speech that drives the face; remove --idle or --ref_video")


def check_driving_audio(has_audio: bool, options: MotionOptions, name: str = "--driven_audio") -> None:
    """Check that audio drives the face unless the options make a video without it.

    name: of the audio, for the message.
    Raises: InputError.
    """
    if options.idle is not None and has_audio:
        raise InputError(f"--idle: makes a video without speech; remove {name} or --idle")
    if options.idle is None and options.full_video is None and not has_audio:
        raise InputError(f"{name}: is missing; give a file with speech, or --idle SECONDS")


DEFAULTS = SadTalkerOptions()
