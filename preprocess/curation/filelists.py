"""File lists of the splits: train.txt, val.txt and test.txt, one clip id per line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from preprocess.curation.splits import SPLITS, is_held_out
from wav2lip.dataset.filelist import read_entries
from wav2lip.execution.manifest import OK, Record
from wav2lip.files import write_atomically

log = logging.getLogger(__name__)


def write_filelists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write train.txt, val.txt and test.txt, one clip id per line; an unchanged list is not touched.

    Without any clip the lists are removed, because older ones would name clips that are rejected now.
    """
    if not any(splits.values()):
        for name in splits:
            (folder / f"{name}.txt").unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, clips in splits.items():
        replace_text(folder / f"{name}.txt", "".join(f"{clip}\n" for clip in clips))
    if not is_held_out(splits):
        log.warning(
            "%s names the training clips: the only source is too short to hold out its end, so validation says nothing "
            "about other videos; add a second video", folder / "val.txt"
        )  # fmt: skip


def trim_filelists(folder: Path, records: Mapping[str, Record]) -> None:
    """Remove rejected clips from existing file lists."""
    for name in SPLITS:
        path = folder / f"{name}.txt"
        if path.exists() and path.stat().st_size:
            entries = read_entries(path, folder.parent)
            kept = [entry for entry in entries if entry.clip not in records or records[entry.clip].status == OK]
            if len(kept) < len(entries):
                replace_text(path, "".join(f"{entry.line.text}\n" for entry in kept))


def replace_text(path: Path, text: str) -> None:
    """Write a file atomically, and only if its content changes."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    write_atomically(path, lambda partial: partial.write_bytes(text.encode()))
