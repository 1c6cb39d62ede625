"""Where clips were cut from, and which were therefore cut from the same recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wav2lip.clips import Clip, read_info
from wav2lip.windows import FPS


@dataclass(frozen=True)
class Place:
    """Where a clip was cut from."""

    clip: str
    source: str
    first: int  # frame of the source, 25 a second
    frames: int
    recording: str = ""  # the same for copies of one recording under other names; "": there are none

    def overlaps(self, other: Place) -> bool:
        """Whether both were cut from the same seconds of a source, as those of two people in one picture are."""
        apart = self.first >= other.first + other.frames or other.first >= self.first + self.frames
        return self.source == other.source and not apart

    def shares_sound_with(self, other: Place) -> bool:
        """Whether both have the same sound: the same seconds of a source, or copies."""
        return self.overlaps(other) or (self.recording != "" and self.recording == other.recording)


def place_of(root: Path, clip_id: str) -> Place:
    """Where a clip comes from; a folder whose clip.json names no source, or that has none, is a source of its own.

    Raises: InputError if it is no clip.
    """
    clip = Clip.open(root / clip_id)
    info = read_info(clip.path) or {}
    if "source" not in info:
        return Place(clip_id, clip_id, 0, frames_of(clip, info))
    return Place(clip_id, info["source"], round((info.get("start") or 0) * FPS), frames_of(clip, info))


def frames_of(clip: Clip, info: Mapping[str, Any] | None) -> int:
    """How long a clip is, by its clip.json or, where that does not say, by its last picture."""
    return int((info or {}).get("frames") or clip.frames[-1] + 1)


def with_recordings(places: Iterable[Place], copies: Iterable[Sequence[str]]) -> list[Place]:
    """Places that know which of them are copies. copies: clips by recording (`duplicates.groups`)."""
    named = {clip: min(group) for group in copies for clip in group}
    return [replace(place, recording=named.get(place.clip, "")) for place in places]
