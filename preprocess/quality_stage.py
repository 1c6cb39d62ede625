"""Quality of all clips of a data set, and the copies among them.

Both are found before sync, which must not learn from a copy of what it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocess import duplicates
from preprocess.manifest import OK, REJECTED, Record, digest
from preprocess.quality import measure
from preprocess.runner import Runner
from preprocess.sync_scores import Unit
from preprocess.workers import Progress, Tools
from wav2lip.clips import Clip, read_info
from wav2lip.errors import InputError

QUALITY = "quality"
QUALITY_FORMAT = 2  # raised when the same clip measures otherwise than before


@dataclass(frozen=True)
class MeasureQuality:
    """Measures a clip."""

    root: Path

    def fingerprint(self, unit: Unit) -> str:
        """Changes when the clip is cut anew, and not when sync corrects it: what was measured before that stands."""
        return digest(QUALITY, QUALITY_FORMAT, unit.state.origin)

    def __call__(self, unit: Unit, tools: Tools, progress: Progress) -> Record:
        """figures: `Quality`."""
        clip, mark = unit.place.clip, self.fingerprint(unit)
        try:
            quality = measure(Clip.open(self.root / clip), read_info(self.root / clip))
        except InputError as error:
            return Record(QUALITY, clip, mark, REJECTED, "unreadable", str(error))
        return Record(QUALITY, clip, mark, figures=quality.as_json())


def measure_quality(root: Path, units: Mapping[str, Unit], runner: Runner) -> dict[str, Record]:
    """Records of clips by name, with the figures of `Quality`.

    Raises: InputError if something is left to measure and the stage may not work.
    """
    return runner.run(QUALITY, MeasureQuality(root), units)


def copies_among(units: Mapping[str, Unit], qualities: Mapping[str, Record]) -> list[duplicates.Copies]:
    """Copies among the clips that could be measured."""
    prints = {clip: record.figures["hash"] for clip, record in qualities.items() if record.fate == OK}
    return duplicates.find(prints, {clip: units[clip].place for clip in prints})
