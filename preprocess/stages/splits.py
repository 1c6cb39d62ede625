"""Stage 8: assign the kept clips to train, val and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from preprocess.curation.splits import SplitAssignment, SplitEntry, SplitSettings, assign_splits
from wav2lip.dataset.clip import read_info

STAGE = "splits"


def run_splits(
    root: Path, clip_seconds: Mapping[str, float], settings: SplitSettings, duplicates: Sequence[Sequence[str]]
) -> SplitAssignment:
    """Assign clips to splits. clip_seconds: length of each clip. duplicates: clips by recording."""
    entries = (SplitEntry.from_info(clip, seconds, read_info(root / clip)) for clip, seconds in clip_seconds.items())
    kept_groups = [[clip for clip in group if clip in clip_seconds] for group in duplicates]
    return assign_splits(entries, settings, kept_groups)
