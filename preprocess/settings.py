"""The settings that shape the clips, by stage; a change in one makes a run do that stage and what follows again."""

from __future__ import annotations

from dataclasses import dataclass, field

from wav2lip.errors import InputError

FPS = 25  # frames a second of every clip: what the networks were trained on
FEWEST_FACES = 16  # frames with a face; the trainers need more than 15
SHORTEST_SOUND = 0.2  # seconds: one window of the expert
FORMAT = 3  # raised when the same settings give other clips than before
KEEP = ("speaking", "largest", "all")


@dataclass(frozen=True)
class ShotSettings:
    """How cuts are found."""

    threshold: float | None = 3.0  # times that a frame differs more than its neighbours do; None: there are no cuts
    shortest: int = 8  # frames between two cuts

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold <= 1:
            raise InputError(f"shots.threshold={self.threshold}: finds cuts everywhere; give more than 1, about 3")


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found and followed."""

    detector: str  # the one that is used, never "auto"
    compat: str = "none"  # "public": the release's boxes and no resampling
    longest_gap: int = 5  # frames without a face that are filled between two that have it
    smooth_window: int = 5  # frames, odd: each box becomes the mean over as many; 1 is no smoothing

    def __post_init__(self) -> None:
        if self.compat not in ("none", "public"):
            raise InputError(f"compat={self.compat}: is neither none nor public; choose one of the two")
        if self.longest_gap < 0:
            raise InputError(f"longest_gap={self.longest_gap}: is below 0; give a number of frames")
        if self.smooth_window < 1 or self.smooth_window % 2 == 0:
            raise InputError(f"smooth_window={self.smooth_window}: has no middle frame; give an odd number, 1 for none")

    @property
    def fps(self) -> int | None:
        """Rate to resample videos to; None leaves their frames as they are."""
        return None if self.compat == "public" else FPS


@dataclass(frozen=True)
class SegmentSettings:
    """Which faces become clips, and how long these are."""

    keep: str = "largest"  # where several faces are seen at a time; "speaking" is settled after the sync stage
    shortest: float = 3.0  # seconds
    longest: float | None = 10.0  # seconds; None: one clip a video, frames without a face are gaps in its numbers

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise InputError(f"keep={self.keep}: is none of {', '.join(KEEP)}; choose one of these")
        if self.longest is not None and not FEWEST_FACES / FPS <= self.shortest <= self.longest:
            raise InputError(
                f"shortest={self.shortest}, longest={self.longest}: clips need at least {FEWEST_FACES / FPS} s, and "
                f"the longest must not be below the shortest"
            )
        if self.longest is None and self.keep == "all":
            raise InputError("keep=all: one clip a video shows one face only; give longest= in seconds too")


@dataclass(frozen=True)
class Settings:
    """All that shapes a clip up to its crops."""

    faces: FaceSettings
    shots: ShotSettings = field(default_factory=ShotSettings)
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    part_minutes: float = 10.0  # a longer video is worked on in parts of so long, each by another process

    def __post_init__(self) -> None:
        if self.part_minutes <= 0:
            raise InputError(f"part_minutes={self.part_minutes}: is no length; give minutes")
