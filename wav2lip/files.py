"""Files that outlive a crash: written beside their target, flushed to disk, then renamed; and locks between processes.

A record that names files is written after they are on disk: without the flush a power cut can leave the record, or the
new name, with a file of zeros.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

FLUSH_THREADS = 8  # file systems combine flushes that are requested at the same time


def flush_file(path: Path) -> None:
    """Wait until the content of a file is on disk."""
    with path.open("rb+" if sys.platform == "win32" else "rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk; nothing to do on Windows, which has no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Wait until all files below a folder, and their names, are on disk."""
    folders = [Path(parent) for parent, _, _ in os.walk(folder)]
    files = [path for parent in folders for path in parent.iterdir() if path.is_file()]
    with ThreadPoolExecutor(FLUSH_THREADS) as pool:
        list(pool.map(flush_file, files))
    for parent in reversed(folders):
        flush_folder(parent)


def publish(partial: Path, target: Path) -> None:
    """Move a complete file, or a folder of files, to its final name; both are on disk when this returns.

    A process killed at any moment leaves the old target or the new one. A folder must not replace another.
    """
    if partial.is_dir():
        flush_tree(partial)
    else:
        flush_file(partial)
    os.replace(partial, target)
    flush_folder(target.parent)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Create the folder of a path, write a file beside it by `write`, and publish it; after an error none remains."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        publish(partial, path)
    finally:  # also where both are links to one file, which a rename leaves as they are
        partial.unlink(missing_ok=True)


def remove_partial_files(folder: Path, pattern: str = "*") -> None:
    """Delete what killed processes have left of files that `write_atomically` wrote.

    folder: no other process writes such files there, because this one holds its lock; need not exist.
    pattern: of the names of the files.
    """
    for partial in folder.glob(f".{pattern}.*.partial"):
        if partial.is_file():
            partial.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, message: str) -> Iterator[bool]:
    """Hold an exclusive lock on a file between processes; the system releases it however the process ends.

    message: of the InputError if another process holds the lock.
    Yields: False, after a warning, on a file system without locks.
    """
    with path.open("ab") as file:
        if hasattr(os, "register_at_fork"):  # a worker that outlives its parent would hold the lock
            os.register_at_fork(after_in_child=file.close)
        yield _try_lock(file.fileno(), path, message)


def _try_lock(handle: int, path: Path, message: str) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise InputError(message) from error
    except OSError as error:
        log.warning("%s: file locks are not supported (%s); do not start a second run there", path.parent, error)
        return False
    return True
