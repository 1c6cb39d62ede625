"""What became of an input."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from wav2lip.errors import InputError

OK, SKIPPED, REJECTED, FAILED = "ok", "skipped", "rejected", "failed"


class Rejected(InputError):
    """An input that no clip can be made of; the text goes on after the input's name ("has no audio track; ...")."""

    def __init__(self, cause: str, sentence: str):
        """cause: the same few words for every input with this fault, to count by."""
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True)
class Outcome:
    """The fate of one input, as the journal, dataset.json and the table tell it."""

    source: str  # path relative to the folder of videos
    clip: str  # GROUP/CLIP
    fate: str  # OK; REJECTED: the input's fault; FAILED: ours or the machine's, tried again by the next run
    cause: str = ""  # why not OK, in the same words for every such input
    reason: str = ""  # why not OK, with this input's figures
    problems: tuple[str, ...] = ()  # what to know about a clip that is OK
    frames: int = 0
    faces: int = 0  # frames with a face crop
    filled: int = 0  # of these, boxes put in between detections
    seconds: float = 0.0  # of video
    source_fps: float = 0.0

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Outcome:
        """Read back what `dataclasses.asdict` gave; keys that are no field are left out."""
        known = {field.name: entry[field.name] for field in fields(cls) if field.name in entry}
        return cls(**{**known, "problems": tuple(entry.get("problems", ()))})
