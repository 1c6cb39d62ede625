"""The units of an evaluation: systems, each with a video for every clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wav2lip.evaluation.metrics import Scores
from wav2lip.faces.boxes import Pads
from wav2lip.sync.offset_curve import OffsetCurve

REAL = "real"  # the system of the real videos, with which the others are compared


@dataclass(frozen=True)
class GenerationRequest:
    """Inputs from which a video is generated."""

    checkpoint: Path  # file of a generator
    face: Path  # video
    audio: Path
    pads: Pads = field(default_factory=Pads)  # for a checkpoint that states no framing, such as upstream's
    reject_longer_audio: bool = False  # skip samples whose audio outlasts the video, as the paper's lists do


@dataclass(frozen=True)
class EvalSample:
    """One video to be measured."""

    clip: str  # name, the same for every system
    video: Path  # generated here if there is a request
    truth: Path | None = None  # real video of the same words, frame by frame
    source: Path | None = None  # video that the face was taken from, if not the ground truth
    is_face_crop: bool = False  # every frame is a face, as in training data: no detection
    request: GenerationRequest | None = None

    @property
    def reference(self) -> Path | None:
        """The video with the same head: the source, or the ground truth."""
        return self.source or self.truth


@dataclass(frozen=True)
class System:
    """A generator or another source of one video per clip."""

    name: str
    samples: tuple[EvalSample, ...]


@dataclass
class SampleScores:
    """Scores and intermediate results of one video."""

    scores: Scores
    curves: dict[str, OffsetCurve] = field(default_factory=dict)  # key: expert, "lse", "expert"
    frames: int = 0
    frames_with_face: int = 0
    thumbnails: np.ndarray | None = None  # faces side by side, (h, w, 3) uint8 RGB
    features: np.ndarray | None = None  # (N, D) of the faces, for FID
