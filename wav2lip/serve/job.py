"""A result that a client asks for: what is to be made, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from wav2lip.crops import Pads
from wav2lip.errors import InputError
from wav2lip.lipsync import Framing, Options, Part

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
LARGEST_FACTOR = 64  # of options.resize_factor
FASTEST = 60.0  # frames a second of a result made of a still


@dataclass(frozen=True)
class JobOptions:
    """What a client may set of how its result is made; named as the flags of wav2lip.infer, with their defaults."""

    static: bool = False
    fps: float = 25.0
    pads: tuple[int, int, int, int] = (0, 10, 0, 0)  # top, bottom, left, right
    resize_factor: int = 1
    crop: tuple[int, int, int, int] = (0, -1, 0, -1)  # top, bottom, left, right
    rotate: bool = False
    box: tuple[int, int, int, int] | None = None  # top, bottom, left, right
    start: float = 0.0  # seconds
    end: float | None = None
    fit: str = "loop"
    short: str = "trim"
    smooth: bool = True
    strict: bool = False
    faces: str = "largest"
    face_at: tuple[float, float, float] | None = None  # seconds, x, y
    blend: str = "feather"
    silence: str = "ease"
    compat: str = "none"

    def __post_init__(self) -> None:
        if not 0 < self.fps <= FASTEST:  # so that NaN is refused too
            raise InputError(f"fps is {self.fps}; give frames a second, {FASTEST:g} at most")
        if self.resize_factor > LARGEST_FACTOR:
            raise InputError(f"resize_factor is {self.resize_factor}; give {LARGEST_FACTOR} at most")
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
        """What as_json gave, with the tuples that JSON does not know."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
        }
        return cls(**values)


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
