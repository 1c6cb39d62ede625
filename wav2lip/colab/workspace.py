"""Folders of a notebook project: on Google Drive in Colab, elsewhere beside the notebook."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from wav2lip.errors import InputError

NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Workspace:
    """Folders of a project."""

    persistent: Path  # survives the machine: uploads, checkpoints, curves, results
    scratch: Path  # fast local disk: videos and data sets that are read all the time

    @property
    def scratch_is_temporary(self) -> bool:
        """True if the scratch folder is lost with the machine."""
        return not self.scratch.is_relative_to(self.persistent)


def open_workspace(project: str, use_drive: bool = True) -> Workspace:
    """Create the missing folders of a project.

    In Colab the persistent folder is MyDrive/wav2lip/PROJECT, which requires the user's permission; with
    use_drive=False it is lost with the machine. Elsewhere both folders are in PROJECT in the current folder.
    """
    if not re.fullmatch(r"[\w. -]+", project) or project.startswith("."):
        raise InputError(f"PROJECT={project!r}: must be a plain folder name, such as my_speaker")
    root = Path.cwd()
    if in_colab() and use_drive:
        importlib.import_module("google.colab.drive").mount(str(root / "drive"))
        workspace = Workspace(root / "drive" / "MyDrive" / "wav2lip" / project, root / "work" / project)
    else:
        workspace = Workspace(root / project, root / project / "work")
    workspace.persistent.mkdir(parents=True, exist_ok=True)
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    return workspace


def in_colab() -> bool:
    """Return True if the notebook runs in Google Colab."""
    try:
        return find_spec("google.colab") is not None
    except ModuleNotFoundError:  # no package `google` is installed
        return False


def upload_files(folder: Path, kind: str) -> Path:
    """Ask the user for files in the browser unless the folder has some; return its newest file.

    kind: noun for messages. Raises: InputError if there is no file, or outside of Colab.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _sorted_files(folder):
        if not in_colab():
            raise InputError(f"{folder}: has no {kind}; put one there and run this cell again")
        with contextlib.chdir(folder):
            importlib.import_module("google.colab.files").upload()
    if not _sorted_files(folder):
        raise InputError(f"no {kind} was uploaded; run this cell again and choose one")
    return _sorted_files(folder)[-1]


def download_file(file: Path) -> None:
    """Send a file to the user's computer in Colab; do nothing elsewhere, where the file is local."""
    if in_colab():
        importlib.import_module("google.colab.files").download(str(file))


def resolve_path(path: str, field: str) -> Path:
    """Resolve a path typed into a form field. Raises: InputError with the field's name if it does not exist."""
    resolved = Path(path).expanduser().resolve()
    if not resolved.exists():
        raise InputError(f"{field}={path}: does not exist; in Colab, files on Drive are under /content/drive/MyDrive/")
    return resolved


def copy_files(files: Sequence[Path], root: Path, folder: Path) -> None:
    """Copy files below `root` to the same paths below `folder`; skip those that exist with the same size.

    Modification times are truncated to seconds: Drive does not store finer ones, and preprocessing treats a
    file with a different time as new.
    """
    for file in files:
        copy = folder / file.relative_to(root)
        stat = file.stat()
        if not copy.exists() or copy.stat().st_size != stat.st_size:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        os.utime(copy, ns=(stat.st_mtime_ns // NS_PER_SECOND * NS_PER_SECOND,) * 2)


def _sorted_files(folder: Path) -> list[Path]:
    """Return the files of a folder, the newest last."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
