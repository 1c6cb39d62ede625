"""Settings of the video stages; a change reruns the stage that uses it and all that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wav2lip.audio.windows import FPS
from wav2lip.errors import InputError
from wav2lip.faces.boxes import Pads
from wav2lip.faces.framing import FaceFraming
from wav2lip.media import AudioTrack

MIN_FACE_FRAMES = 16  # per clip: the trainers need more than 15
MIN_AUDIO_SECONDS = 0.2  # per clip: one window of the sync expert
FORMAT = 3  # incremented when the same settings give other clips than before
FACE_POLICIES = ("speaking", "largest", "all")
STRIDE_FRAMES, SCAN_FRAMES = 2, 25  # from one detection of a face, and in whole frames, to the next
SCAN_SIDE = 480  # pixels to which whole frames are downscaled for it


@dataclass(frozen=True)
class ShotSettings:
    """Shot boundary detection."""

    threshold: float | None = 3.0  # ratio of a frame's difference to that of its neighbors; None: no boundaries
    min_shot_frames: int = 8

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold <= 1:
            raise InputError(f"shots.threshold={self.threshold}: must be above 1; about 3 works for most videos")


@dataclass(frozen=True)
class FaceSettings:
    """Face detection and tracking."""

    detector: str  # resolved name, never "auto", with the hash of landmark weights
    compat: str = "none"  # "public": upstream's boxes and no resampling
    max_gap_frames: int = 5  # longest gap between two detections that is interpolated
    smooth_window_frames: int = 5  # odd length of the moving average over boxes; 1 disables smoothing

    @property
    def detector_name(self) -> str:
        """Name of the detector alone, for clip.json."""
        return self.detector.split()[0]

    def __post_init__(self) -> None:
        if self.compat not in ("none", "public"):
            raise InputError(f"compat={self.compat}: must be none or public")
        if self.max_gap_frames < 0:
            raise InputError(f"max_gap_frames={self.max_gap_frames}: must be 0 or more")
        if self.smooth_window_frames < 1 or self.smooth_window_frames % 2 == 0:
            raise InputError(f"smooth_window_frames={self.smooth_window_frames}: must be odd; 1 disables smoothing")

    @property
    def fps(self) -> int | None:
        """Frame rate to which videos are resampled; None keeps their frames."""
        return None if self.compat == "public" else round(FPS)


@dataclass(frozen=True)
class SegmentSettings:
    """Selection of faces and clip lengths."""

    face_policy: str = "largest"  # among simultaneous faces; "speaking" is decided after the sync stage
    min_clip_seconds: float = 3.0
    max_clip_seconds: float | None = 10.0  # None: one clip per video, in which frames without a face are missing

    def __post_init__(self) -> None:
        low, high = self.min_clip_seconds, self.max_clip_seconds
        if self.face_policy not in FACE_POLICIES:
            raise InputError(f"face_policy={self.face_policy}: must be one of {', '.join(FACE_POLICIES)}")
        if high is not None and not MIN_FACE_FRAMES / FPS <= low <= high:
            raise InputError(
                f"min_clip_seconds={low}, max_clip_seconds={high}: must be at least {MIN_FACE_FRAMES / FPS}, and the "
                "minimum must not exceed the maximum"
            )
        if high is None and self.face_policy == "all":
            raise InputError(
                "face_policy=all: must not be combined with max_clip_seconds=null; set a length in seconds"
            )


@dataclass(frozen=True)
class VideoSettings:
    """All settings that shape the crops of a clip."""

    faces: FaceSettings
    shots: ShotSettings = field(default_factory=ShotSettings)
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    chunk_minutes: float = 10.0  # longer videos are processed in chunks of this length, in parallel
    pads: Pads = field(default_factory=Pads)
    audio_track: int | None = None  # of videos with several, from 1; None: the one that players play

    def __post_init__(self) -> None:
        if self.audio_track is not None and self.audio_track < 1:
            raise InputError(f"audio_track={self.audio_track}: must be 1 or more; null: the track that players play")
        if self.chunk_minutes <= 0:
            raise InputError(f"chunk_minutes={self.chunk_minutes}: must be above 0")

    def select_audio(self, path: Path) -> Path | AudioTrack:
        """Return the path of a video, for functions that read its audio."""
        return path if self.audio_track is None else AudioTrack(path, self.audio_track)

    @property
    def framing(self) -> FaceFraming:
        """Framing of the crops."""
        if self.faces.compat == "public":
            return FaceFraming(self.pads, self.faces.detector_name, smooth_window_frames=1, stride_frames=1)
        window = self.faces.smooth_window_frames
        return FaceFraming(self.pads, self.faces.detector_name, window, STRIDE_FRAMES, SCAN_FRAMES, SCAN_SIDE)
