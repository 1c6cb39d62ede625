"""What is measured: systems, each of which made a video of every clip, or is to make it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wav2lip.crops import Pads

NO_PADS = Pads(0, 0, 0, 0)
REAL = "real"  # the system that made the real videos: what the others are read against


@dataclass(frozen=True)
class Order:
    """How a video is made that is not there yet."""

    checkpoint: Path  # of a generator
    face: Path  # video
    audio: Path
    pads: Pads = NO_PADS
    not_longer: bool = False  # leave it out where the sound is longer than the video, as the paper's lists have it


@dataclass(frozen=True)
class Take:
    """One video to be measured."""

    clip: str  # its name, the same for every system
    made: Path  # the video; where there is an order, its place
    truth: Path | None = None  # the real video of the same words, alike frame by frame
    source: Path | None = None  # the video that the face was taken from, if another than the truth
    face_only: bool = False  # every frame is a face already, as in training data: no face is looked for
    order: Order | None = None

    @property
    def beside(self) -> Path | None:
        """The video whose frames show the same head: the source, or the truth."""
        return self.source or self.truth


@dataclass(frozen=True)
class System:
    """Whoever made one video for each of some clips."""

    name: str
    takes: tuple[Take, ...]
