"""Stage 6: measure the quality of each clip, and find duplicates.

Both precede the sync stage, whose bootstrapped expert must not learn from a duplicate of a clip it scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocess.curation.clip_inputs import ClipInput
from preprocess.curation.duplicates import DuplicatePair, find_duplicates
from preprocess.curation.quality import measure_clip
from wav2lip.dataset.clip import Clip, read_info
from wav2lip.errors import InputError
from wav2lip.execution.interface import Progress, WorkerContext
from wav2lip.execution.manifest import OK, REJECTED, Record, hash_values
from wav2lip.execution.stage_runner import StageRunner

STAGE = "quality"
FORMAT = 4  # incremented when the same clip gives other figures than before


@dataclass(frozen=True)
class QualityStage:
    """Measure a clip."""

    root: Path

    def fingerprint(self, clip_input: ClipInput) -> str:
        """Hash of the clip before any sync correction, which does not invalidate the figures."""
        return hash_values(STAGE, FORMAT, clip_input.state.origin)

    def __call__(self, clip_input: ClipInput, context: WorkerContext, progress: Progress) -> Record:
        """Return the fields of `Quality`."""
        clip, fingerprint = clip_input.clip, self.fingerprint(clip_input)
        try:
            quality = measure_clip(Clip.open(self.root / clip), read_info(self.root / clip))
        except InputError as error:
            return Record(STAGE, clip, fingerprint, REJECTED, "unreadable", str(error))
        return Record(STAGE, clip, fingerprint, data=quality.to_json())


def run_quality(root: Path, inputs: Mapping[str, ClipInput], runner: StageRunner) -> dict[str, Record]:
    """Return the records of clips by name, with the fields of `Quality`.

    Raises: InputError if clips are left to measure and the stage may not run.
    """
    return runner.run(STAGE, QualityStage(root), inputs)


def find_duplicate_clips(inputs: Mapping[str, ClipInput], qualities: Mapping[str, Record]) -> list[DuplicatePair]:
    """Return the duplicates among the clips that could be measured."""
    fingerprints = {clip: record.data["fingerprint"] for clip, record in qualities.items() if record.status == OK}
    return find_duplicates(fingerprints, {clip: inputs[clip].origin for clip in fingerprints})
