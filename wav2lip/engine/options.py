"""Inference options of every engine: the only source of their flags, API fields and labels, see `option_parsing`.

An engine composes the groups by inheritance and adds its own fields, so that the options of a request are flat
attributes of one frozen dataclass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import not_
from os import PathLike
from pathlib import Path
from typing import Any

from wav2lip.engine.face_selection import SPEAKING, check_selection, parse_positions
from wav2lip.engine.frame_source import MIN_IMAGE_FPS, Framing, TimeRange
from wav2lip.engine.option_parsing import ClientLimits, RequestOptions, parse_bool, parse_point, parse_time, spec
from wav2lip.errors import InputError
from wav2lip.faces.appearance_descriptor import SIMILARITY_THRESHOLD
from wav2lip.media import Encoding
from wav2lip.media.encoding import PRESET

SIDES = ("TOP", "BOTTOM", "LEFT", "RIGHT")
ANY = ClientLimits()
PIXELS = ClientLimits(-(1 << 16), 1 << 16)
TIME_FORMATS = "also MM:SS.s or HH:MM:SS.s"


@dataclass(frozen=True, kw_only=True)
class InputOptions(RequestOptions):
    """Selection and transformation of the frames of the face input."""

    static: bool = field(
        default=False,
        metadata=spec("use only the first frame of a video", parse=parse_bool, metavar="BOOL", client=ANY),
    )
    fps: float | None = field(
        default=None,
        metadata=spec(
            "frames per second of the result; default: those of the video, 25 for an image",
            parse=float, metavar="RATE", client=ClientLimits(MIN_IMAGE_FPS, 60),
        ),
    )  # fmt: skip
    audio_track: int | None = field(
        default=None,
        metadata=spec(
            "track of an audio file with several, from 1; default: the one that players play",
            parse=int, metavar="N", client=ClientLimits(1, 100),
        ),
    )  # fmt: skip
    start: float = field(
        default=0.0,
        metadata=spec(
            "start of the used part of the face video, in seconds",
            parse=parse_time, metavar="TIME", cli_hint=TIME_FORMATS, client=ANY,
        ),
    )  # fmt: skip
    end: float | None = field(
        default=None,
        metadata=spec(
            "end of the used part of the face video, in seconds",
            parse=parse_time, metavar="TIME", cli_hint=TIME_FORMATS, client=ANY,
        ),
    )  # fmt: skip
    resize_factor: int = field(
        default=1,
        metadata=spec("divide the frame size by this", parse=int, metavar="N", client=ClientLimits(-math.inf, 64)),
    )
    crop: tuple[int, int, int, int] = field(
        default=(0, -1, 0, -1),
        metadata=spec(
            "top, bottom, left, right of the used part of the frame, in pixels after resizing and rotation; -1: to the "
            "edge", parse=int, metavar=SIDES, client=PIXELS,
        ),
    )  # fmt: skip
    rotate: bool = field(
        default=False, metadata=spec("rotate frames by 90 degrees clockwise, before the crop", client=ANY)
    )
    max_pixels: int | None = field(  # set by servers
        default=None, metadata=spec("skip larger frames of a video, which may be untrusted", flag=None)
    )

    @property
    def time_range(self) -> TimeRange:
        """Used part of a face video."""
        return TimeRange(self.start, self.end)

    @property
    def framing(self) -> Framing:
        """Resizing, rotation and crop of frames."""
        return Framing(self.resize_factor, self.rotate, self.crop)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.time_range, self.framing  # validates their arguments


@dataclass(frozen=True, kw_only=True)
class FaceSelectionOptions(RequestOptions):
    """Selection of the faces to animate."""

    faces: str = field(
        default="largest",
        metadata=spec(
            "largest or leftmost: follow that person; 0, 1, 2 ...: counted from left to right; all: everyone; "
            "speaking: whoever speaks in the video; 0,1: several, each with an --audio",
            parse=str, metavar="WHICH", is_open=True, label="Faces to animate", client=ClientLimits(max_characters=20),
            choices={"largest": "Largest face", "leftmost": "Leftmost face", "all": "All faces",
                     "speaking": "Whoever speaks in the video",
                     "0": "First from the left", "1": "Second from the left", "2": "Third from the left"},
        ),
    )  # fmt: skip
    face_at: tuple[float, float, float] | None = field(
        default=None,
        metadata=spec(
            "follow the person at this point: seconds after the start, x and y in pixels after resizing, rotation and "
            "crop", parse=parse_point, metavar="SECONDS,X,Y", cli_hint="reads the video twice", client=ANY,
        ),
    )  # fmt: skip
    face_like: tuple[Path, ...] = field(
        default=(),
        metadata=spec(
            "follow the person who looks most like the face in this image; one image for each --audio",
            parse=Path, metavar="FILE", is_list=True,
        ),
    )  # fmt: skip
    alike: float = field(
        default=SIMILARITY_THRESHOLD,
        metadata=spec(
            "with --face_at, --face_like and --faces speaking: similarity from which two tracks are the same person",
            parse=float, metavar="SHARE",
        ),
    )  # fmt: skip
    cache: bool = field(
        default=True,
        metadata=spec(
            "cache the faces of the video for the next run",
            flag="no_cache", flag_default=False, from_flag=not_, cli_hint="do not",
        ),
    )  # fmt: skip
    face_det_batch_size: int = field(
        default=16, metadata=spec("frames per batch of face detection; at most 8 on a CPU", parse=int, metavar="N")
    )

    def __post_init__(self) -> None:
        images: Any = self.face_like  # from Python also one path, a list or None
        if images is None or isinstance(images, str | PathLike):
            images = () if images is None else (images,)
        object.__setattr__(self, "face_like", tuple(map(Path, images)))
        super().__post_init__()
        if self.face_det_batch_size < 1:
            raise InputError(f"--face_det_batch_size={self.face_det_batch_size}: must be at least 1")
        check_selection(self.faces)
        if self.face_at is not None and not all(0 <= value < math.inf for value in self.face_at):
            point = ",".join(f"{value:g}" for value in self.face_at)
            raise InputError(f"--face_at={point}: must be finite numbers from 0; give SECONDS,X,Y")
        if not -1 <= self.alike <= 1:  # rejects NaN too
            raise InputError(f"--alike={self.alike}: must be between -1 (anyone) and 1 (nobody else)")
        follows = self.face_at is not None or bool(self.face_like) or self.faces == SPEAKING
        if self.alike != SIMILARITY_THRESHOLD and not follows:
            needed = "--face_at, --face_like or --faces speaking"
            raise InputError(f"--alike={self.alike}: requires {needed}; add one of them")
        flags = self.selection_flags
        if len(flags) > 1:
            raise InputError(f"{' and '.join(flags)}: each selects the face; keep one of them")

    @property
    def selection_flags(self) -> list[str]:
        """Flags that override the default selection of the face."""
        changed = {
            "--faces": self.faces != "largest",
            "--face_at": self.face_at is not None,
            "--face_like": bool(self.face_like),
        }
        return [flag for flag, is_changed in changed.items() if is_changed]

    @property
    def num_voices(self) -> int:
        """Number of faces that speak audio of their own."""
        return max(1, len(self.face_like), len(parse_positions(self.faces)))


@dataclass(frozen=True, kw_only=True)
class FaceOptions(FaceSelectionOptions):
    """Detection and selection of the faces to animate in the frames of a video."""

    pads: tuple[int, int, int, int] | None = field(
        default=None,
        metadata=spec(
            "top, bottom, left, right: pixels added to the face box; auto: as in the checkpoint's training data, "
            "0 10 0 0 for upstream's",
            parse=int, metavar=SIDES, client=PIXELS, is_automatic=True,
        ),
    )  # fmt: skip
    box: tuple[int, int, int, int] | None = field(
        default=None,
        metadata=spec(
            "top, bottom, left, right: fixed face box in pixels instead of detection; pads and smoothing do not apply",
            parse=int, metavar=SIDES, client=PIXELS, flag_default=(-1, -1, -1, -1),
            from_flag=lambda box: None if box[0] == -1 else box,
        ),
    )  # fmt: skip
    sync_expert: Path | None = field(
        default=None,
        metadata=spec(
            "with --faces speaking: SyncNet that compares lips with the audio of the video; default: the motion of the "
            "mouths", parse=Path, metavar="FILE",
        ),
    )  # fmt: skip
    smooth: bool = field(
        default=True,
        metadata=spec(
            "smooth face boxes over time",
            flag="nosmooth", flag_default=False, from_flag=not_, cli_hint="do not", client=ANY,
        ),
    )  # fmt: skip
    strict: bool = field(
        default=False, metadata=spec("fail at a frame without a face instead of passing it through", client=ANY)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sync_expert is not None and self.faces != SPEAKING:
            raise InputError(f"--sync_expert={self.sync_expert}: requires --faces {SPEAKING}; add it")
        flags = self.selection_flags
        if flags and self.box is not None:
            raise InputError(f"{flags[0]}: cannot be combined with --box, which fixes the face; remove one of them")


@dataclass(frozen=True, kw_only=True)
class OutputOptions(RequestOptions):
    """Enhancement and encoding of the result."""

    enhancer: str | PathLike[str] | None = field(
        default=None, metadata=spec("face restoration network: GFPGAN, RestoreFormer ...", parse=str, metavar="FILE")
    )
    background_enhancer: str | PathLike[str] | None = field(
        default=None,
        metadata=spec("restoration network for whole frames: Real-ESRGAN ...", parse=str, metavar="FILE"),
    )
    enhancer_strength: float = field(
        default=1.0,
        metadata=spec("weight of the enhanced frames in the result, 0 to 1", parse=float, metavar="SHARE"),
    )
    upscale: bool = field(default=False, metadata=spec("write frames at the background enhancer's output size"))
    codec: str = field(
        default="libx264",
        metadata=spec("video encoder of FFmpeg: libx264, libx265, libvpx-vp9, ...", parse=str, metavar="NAME"),
    )
    crf: float | None = field(
        default=None,
        metadata=spec(
            "constant quality, 0: lossless; default: 18 if the codec supports it", parse=float, metavar="N"
        ),
    )  # fmt: skip
    preset: str | None = field(
        default=None,
        metadata=spec(f"speed preset of the codec; default of libx264: {PRESET}", parse=str, metavar="NAME"),
    )
    pix_fmt: str | None = field(
        default=None,
        metadata=spec("pixel format; default: yuv420p if the codec supports it", parse=str, metavar="NAME"),
    )
    metadata: bool = field(
        default=True,
        metadata=spec(
            "mark the result as generated in its metadata",
            flag="no_metadata", flag_default=False, from_flag=not_, cli_hint="do not",
        ),
    )  # fmt: skip

    @property
    def encoding(self) -> Encoding:
        """Codec and quality of the result."""
        return Encoding(self.codec, self.crf, self.preset, self.pix_fmt)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.encoding  # validates its arguments
        if not 0 <= self.enhancer_strength <= 1:  # rejects NaN too
            raise InputError(f"--enhancer_strength={self.enhancer_strength}: must be between 0 and 1")
        if self.enhancer_strength != 1 and self.enhancer is None and self.background_enhancer is None:
            raise InputError("--enhancer_strength: requires --enhancer or --background_enhancer; add one of them")
        if self.upscale and self.background_enhancer is None:
            raise InputError("--upscale: requires a network that enlarges frames; add --background_enhancer FILE")
