"""The settings that shape a clip; a change in one of them makes a run do its clips again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from wav2lip.errors import InputError

FPS = 25  # frames a second of every clip: what the networks were trained on
FEWEST_FACES = 16  # frames with a face; the trainers need more than 15
SHORTEST_SOUND = 0.2  # seconds: one window of the expert
FORMAT = 1  # raised when the same settings give other clips than before


@dataclass(frozen=True)
class Settings:
    """How boxes are found and made into crops."""

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

    @property
    def fingerprint(self) -> str:
        """Twelve letters that differ where the settings do."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
