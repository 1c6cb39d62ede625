"""Checksums of files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from wav2lip.types import PathType


def hash_file(path: PathType) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file_cached(path: PathType) -> str:
    """Return `hash_file`, computed again only if the file's size or modification time has changed."""
    stat = Path(path).stat()
    return _hash_version(Path(path), stat.st_size, stat.st_mtime_ns)


def hash_checkpoint(path: PathType) -> str:
    """Return the SHA-256 of the file that holds a network's weights: for OpenVINO's .xml, the .bin beside it."""
    path = Path(path)
    return hash_file(path.with_suffix(".bin") if path.suffix.lower() == ".xml" else path)


@lru_cache(maxsize=100_000)
def _hash_version(path: Path, _size: int, _modified_ns: int) -> str:
    return hash_file(path)
