"""Origin of clips in their source videos, by which clips of one recording are recognized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2lip.audio.windows import FPS
from wav2lip.dataset.clip import Clip, read_info


@dataclass(frozen=True)
class ClipOrigin:
    """Range of frames of a source video from which a clip was cut."""

    clip: str
    source: str
    first: int  # frame of the source at 25 fps
    frames: int
    recording: str = ""  # shared by duplicates of one recording under different names; "": no duplicates

    def overlaps(self, other: ClipOrigin) -> bool:
        """Return whether both contain the same seconds of a source, as clips of two people in one frame do."""
        is_disjoint = self.first >= other.first + other.frames or other.first >= self.first + self.frames
        return self.source == other.source and not is_disjoint

    def shares_audio_with(self, other: ClipOrigin) -> bool:
        """Return whether both have the same audio: the same seconds of a source, or duplicates."""
        return self.overlaps(other) or (self.recording != "" and self.recording == other.recording)


def read_origin(root: Path, clip_id: str) -> ClipOrigin:
    """Read the origin of a clip; one whose clip.json names no source is a source of its own.

    Raises: InputError if the folder is not a clip.
    """
    clip = Clip.open(root / clip_id)
    info = read_info(clip.path) or {}
    if "source" not in info:
        return ClipOrigin(clip_id, clip_id, 0, count_frames(clip, info))
    return ClipOrigin(clip_id, info["source"], round((info.get("start") or 0) * FPS), count_frames(clip, info))


def count_frames(clip: Clip, info: Mapping[str, Any] | None) -> int:
    """Return the length of a clip from its clip.json or else from its last frame."""
    return int((info or {}).get("frames") or clip.frames[-1] + 1)


def link_recordings(origins: Iterable[ClipOrigin], groups: Iterable[Sequence[str]]) -> list[ClipOrigin]:
    """Set the recording of duplicates. groups: clips by recording (`duplicates.group_duplicates`)."""
    recordings = {clip: min(group) for group in groups for clip in group}
    return [replace(origin, recording=recordings.get(origin.clip, "")) for origin in origins]
