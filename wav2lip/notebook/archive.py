"""A folder of many small files kept as one: Google Drive is slow with many, and a data set is nothing else."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

LEFT_OUT = "packed"  # made again from the clips in seconds, and the larger half


def keep(folder: Path, archive: Path) -> None:
    """Write a folder, but for its packed form, into one file; the file appears whole or not at all."""
    partial = archive.with_name(archive.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(partial, "w") as tar:
        for path in sorted(folder.iterdir()):
            if path.name != LEFT_OUT:
                tar.add(path, path.name)
    os.replace(partial, archive)


def bring_back(archive: Path, folder: Path) -> bool:
    """Unpack what `keep` wrote, whole or not at all, if the folder is not there yet; returns whether it did."""
    if folder.exists() or not archive.exists():
        return False
    partial = folder.with_name(folder.name + ".partial")
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    os.replace(partial, folder)
    return True
