"""Pack a data set into one tar file: Google Drive is slow with many small files."""

from __future__ import annotations

import tarfile
from pathlib import Path

from wav2lip.files import publish

EXCLUDED_FOLDER = "packed"  # larger than the rest, and rebuilt from the clips in seconds


def create_archive(folder: Path, archive: Path) -> None:
    """Write a folder without its packed form to a tar file, which appears only when it is complete."""
    partial = archive.with_name(archive.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(partial, "w") as tar:
        for path in sorted(folder.iterdir()):
            if path.name != EXCLUDED_FOLDER:
                tar.add(path, path.name)
    publish(partial, archive)


def extract_archive(archive: Path, folder: Path) -> bool:
    """Extract an archive unless the folder exists; return True if it did. The folder appears only when complete."""
    if folder.exists() or not archive.exists():
        return False
    partial = folder.with_name(folder.name + ".partial")
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    publish(partial, folder)
    return True
