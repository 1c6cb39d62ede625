"""A result that a client asks for: what is to be made, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from face_detection.build import COMPAT
from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync import Framing, Options, Part
from wav2lip.lipsync.blending import BLENDS
from wav2lip.lipsync.silence import SILENCES
from wav2lip.lipsync.timeline import FITS, SHORTS

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
LARGEST_FACTOR = 64  # of options.resize_factor
FASTEST = 60.0  # frames a second of a result made of a still
LONGEST = 20  # characters of options.faces

FourPixels = tuple[int, int, int, int]
Point = tuple[float, float, float]
CROP = "top, bottom, left, right of what is used, after resizing and rotation; -1: to the edge"
BOX = "top, bottom, left, right: a fixed face box instead of detection"
FACES = "whose lips: largest, leftmost, all, or a number from left to right, from 0"


def _one_of(choices: Sequence[str], text: str) -> Any:
    return Field(description=text, json_schema_extra={"enum": list(choices)})


@dataclass(frozen=True)
class JobOptions:
    """What a client may set of how its result is made; named as the flags of wav2lip.infer, with their defaults."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # for the API: a misspelt name is no option

    static: Annotated[bool, Field(description="use only the first frame of a video")] = False
    fps: Annotated[float, Field(description=f"frames a second, for a picture only, {FASTEST:g} at most")] = 25.0
    pads: Annotated[FourPixels, Field(description="top, bottom, left, right: added to the face box")] = (0, 10, 0, 0)
    resize_factor: Annotated[int, Field(description="divide the frame size by this")] = 1
    crop: Annotated[FourPixels, Field(description=CROP)] = (0, -1, 0, -1)
    rotate: Annotated[bool, Field(description="turn frames by 90 degrees clockwise, before the crop")] = False
    box: Annotated[FourPixels | None, Field(description=BOX)] = None
    start: Annotated[float, Field(description="use the face video from here on, in seconds")] = 0.0
    end: Annotated[float | None, Field(description="use the face video up to here, in seconds")] = None
    fit: Annotated[str, _one_of(FITS, "what becomes of sound that is longer than the video")] = "loop"
    short: Annotated[str, _one_of(SHORTS, "what becomes of a video that is longer than the sound")] = "trim"
    smooth: Annotated[bool, Field(description="smooth face boxes over time")] = True
    strict: Annotated[bool, Field(description="fail at a frame without a face instead of passing it through")] = False
    faces: Annotated[str, Field(description=FACES)] = "largest"
    face_at: Annotated[Point | None, Field(description="seconds, x, y: the person who is there")] = None
    blend: Annotated[str, _one_of(BLENDS, "how faces go back into the frame")] = "feather"
    silence: Annotated[str, _one_of(SILENCES, "ease the mouth shut while nobody speaks, or leave it")] = "ease"
    compat: Annotated[str, _one_of(COMPAT, "public: as the public release does")] = "none"

    def __post_init__(self) -> None:
        for name, numbers in {"start": (self.start,), "end": (self.end,), "face_at": self.face_at}.items():
            if not all(math.isfinite(number) for number in numbers or () if number is not None):
                raise InputError(f"{name} is {getattr(self, name)}; give finite numbers")
        if not 0 < self.fps <= FASTEST:  # so that NaN is refused too
            raise InputError(f"fps is {self.fps}; give frames a second, {FASTEST:g} at most")
        if self.resize_factor > LARGEST_FACTOR:
            raise InputError(f"resize_factor is {self.resize_factor}; give {LARGEST_FACTOR} at most")
        if len(self.faces) > LONGEST:
            raise InputError(f"faces is {self.faces[:LONGEST]!r} and more; give largest, leftmost, all, or a number")
        for name in ("pads", "crop", "box"):
            if any(abs(pixels) > 1 << 16 for pixels in getattr(self, name) or ()):
                raise InputError(f"{name} is {list(getattr(self, name))}; give pixels of a picture")
        self.of_library()  # which says what is wrong with the rest

    def of_library(self) -> Options:
        """The same for LipSync; what a client's video shows is remembered nowhere."""
        return Options(
            static=self.static, fps=self.fps, pads=Pads(*self.pads),
            framing=Framing(self.resize_factor, self.rotate, self.crop), part=Part(self.start, self.end),
            fit=self.fit, short=self.short, box=self.box, smooth=self.smooth, strict=self.strict, faces=self.faces,
            face_at=self.face_at, blend=self.blend, silence=self.silence, compat=self.compat, cache=False,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """For the database."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> JobOptions:
        """What as_json gave, with the tuples that JSON does not know. Raises: InputError if another version gave it."""
        unknown = sorted(stored.keys() - {known.name for known in fields(cls)})
        if unknown:
            raise InputError(f"{', '.join(unknown)}: no options of this version of the server; ask for the job anew")
        try:
            return cls(**_with_tuples(stored))
        except TypeError as error:
            raise InputError(f"options of another version of the server ({error}); ask for the job anew") from error

    @classmethod
    def shown(cls, stored: Mapping[str, Any]) -> JobOptions:
        """What this version can say of what any version stored: the rest is as if it had been left out."""
        try:
            return cls.from_json(stored)
        except InputError:
            options = cls()
        for name, value in _with_tuples(stored).items():
            try:
                options = replace(options, **{name: value})
            except (InputError, TypeError):
                continue
        return options


def _with_tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    stage: str = "waiting"  # then: loading (the generator), faces (until the first frame is made), lips, done
    done: int = 0  # frames
    total: int = 0  # frames; 0: not known yet


@dataclass(frozen=True)
class Given:
    """What is told of a file that a job was made of."""

    id: str
    name: str
    sha256: str
    still: bool  # a picture


@dataclass(frozen=True)
class Job:
    """A job as it was when it was asked for."""

    id: str
    client: str
    state: State
    model: str
    options: JobOptions
    face: Given
    audio: Given
    created: float  # seconds since 1970, as the next two
    started: float | None = None
    finished: float | None = None
    progress: Progress = field(default_factory=Progress)
    position: int | None = None  # in the queue, from 1; None once it runs
    error: str | None = None  # one sentence, if it failed
    without_face: tuple[tuple[float, float], ...] = ()  # spans of seconds whose frames are unchanged
    frames: int | None = None  # of the result
    fps: float | None = None
    checkpoint_sha256: str | None = None
    result_sha256: str | None = None
    result_size: int | None = None  # bytes
    kept: bool = False  # the result can be had

    @property
    def ended(self) -> bool:
        """Nothing more happens to it."""
        return self.state in ENDED
