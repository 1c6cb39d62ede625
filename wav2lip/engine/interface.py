"""Protocols and value types of the parts of an engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from face_detection.tracking.online_tracker import TrackedFace
from wav2lip.faces.boxes import Box

OnProgress = Callable[[str, int, int], object]  # stage, finished frames, total frames; an exception stops the engine
IsCancelled = Callable[[], bool]  # called once per frame read or generated, from several threads


def never() -> bool:
    """Return False; the default of parameters of type `IsCancelled`."""
    return False


@dataclass(frozen=True)
class FaceTarget:
    """A face to animate in one frame."""

    box: Box
    landmarks: np.ndarray | None = None  # (5, 2) float32, x and y in pixels: eyes, nose tip, mouth corners; left first
    person: int = 0  # index of the track
    is_missed: bool = False  # the detector searched this frame and did not find the face, whose box is interpolated
    voice: int | None = 0  # index of the audio that the face speaks; None: the mouth rests


@dataclass
class FrameItem:
    """A frame of the result."""

    index: int  # position in the result, from 0
    frame: np.ndarray  # (H, W, 3) uint8 RGB; a stage may modify it in place
    targets: Sequence[FaceTarget]  # empty if there is no face to animate
    is_held_back: bool = False  # a generated face was faded out, because it would have smeared


# From the faces of a frame to the voice by person; called for every frame, in order.
AssignVoices = Callable[[Sequence[TrackedFace]], Mapping[int, int]]
Detection = tuple[np.ndarray, Sequence[TrackedFace]]  # a frame and all its faces
LocatedFrame = tuple[np.ndarray, Sequence[FaceTarget]]  # a frame and its faces to animate


class Source(Protocol):
    """Frames of a face input, which can be read any number of times."""

    @property
    def static(self) -> bool:
        """True if there is only one frame."""

    @property
    def stated_frames(self) -> int:
        """Number of frames that the file states; 0 if unknown, or if the source is static."""

    @property
    def fps(self) -> Fraction:
        """Frame rate of the result."""

    @property
    def path(self) -> object:
        """Name of the source in messages."""

    def frames(self, first: int = 0, last: int | None = None) -> Generator[np.ndarray, None, None]:
        """Yield the frames from `first` up to but not including `last`, (H, W, 3) uint8 RGB, in order."""


class FaceLocator(Protocol):
    """Find the faces to animate in two lazy stages over all frames of a source, in order."""

    def detect(self, frames: Iterable[np.ndarray]) -> Generator[Detection, None, None]:
        """Yield each frame with its faces."""

    def select(self, detections: Iterable[Detection]) -> Generator[LocatedFrame, None, None]:
        """Yield each frame with its faces to animate. Raises: InputError if there is none where one is required."""


@dataclass(frozen=True)
class Result:
    """A finished video."""

    outfile: Path
    frames: int
    fps: Fraction
    without_face: list[tuple[float, float]]  # start and end in seconds of the unchanged spans without a face
    has_cached_faces: bool = False  # the faces were located by an earlier run
    held_back: int = 0  # frames in which a generated face was faded out
