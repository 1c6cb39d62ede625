"""Checkpoint files of a run: numbered ones, `last.pth` and `best.pth`, after the prefix of their model; the lock."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning_fabric import Fabric

from wav2lip.checkpoints import load_checkpoint
from wav2lip.errors import InputError, file_error
from wav2lip.files import lock, remove_partial_files, write_atomically

log = logging.getLogger(__name__)

LAST, BEST = "last.pth", "best.pth"
LOCK = ".lock"
NUMBERED = re.compile(r"checkpoint_step(\d{9,})\.pth")


def numbered_name(prefix: str, step: int) -> str:
    """Return the file name of a model after a step."""
    return f"{prefix}checkpoint_step{step:09d}.pth"


def list_numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    """Return step and path of the numbered checkpoints of a model, newest first."""
    paths = folder.glob(f"{prefix}checkpoint_step*.pth")
    matches = [(NUMBERED.fullmatch(path.name.removeprefix(prefix)), path) for path in paths]
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def last_complete_before(path: Path) -> Path | None:
    """Return the newest complete checkpoint of the same model and folder with a lower step number."""
    match = NUMBERED.search(path.name)
    if match is None:
        return None
    for step, earlier in list_numbered(path.parent, prefix=path.name[: match.start()]):
        if step < int(match[1]):
            try:
                load_checkpoint(earlier)
            except InputError as error:
                log.warning("skipped checkpoint: %s", error)
            else:
                return earlier
    return None


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file to a second name, replacing an existing file; copy where hard links are not supported.

    A process killed at any moment leaves `target` as the old file or the new one.
    Raises: InputError if a copy does not fit on the disk.
    """

    def write(partial: Path) -> None:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # FAT, some network drives; the copy reports every other cause
            shutil.copyfile(source, partial)

    try:
        write_atomically(target, write)
    except OSError as error:
        raise file_error(error, target) from error


@contextmanager
def lock_folder(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Reserve a checkpoint folder for one run, and remove the partial files of killed ones. Collective.

    Raises: InputError in every process if another run saves its checkpoints there.
    """
    message = f"checkpoint_dir={folder}: another run is training there; wait for its end, or choose another folder"
    is_free = True
    with ExitStack() as stack:
        if fabric.is_global_zero:
            try:
                is_supported = stack.enter_context(lock(folder / LOCK, message))
            except InputError:
                is_free = False
            else:
                if is_supported:  # the lock shows that their process has ended
                    remove_partial_files(folder, "*.pth")
        if not fabric.broadcast(is_free):
            raise InputError(message)
        yield
