"""Where a notebook keeps its files: in Colab on Google Drive, elsewhere in a folder beside the notebook."""

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

SECOND = 1_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Workspace:
    """The folders of a project."""

    kept: Path  # outlives the machine: videos that were uploaded, checkpoints, curves, results
    fast: Path  # on this machine's own disk: what is read all the time

    @property
    def apart(self) -> bool:
        """Whether what is in `fast` is lost with the machine."""
        return not self.fast.is_relative_to(self.kept)


def open_workspace(project: str, on_drive: bool = True) -> Workspace:
    """The folders of a project, made where they are missing.

    In Colab `kept` is MyDrive/wav2lip/PROJECT, for which Google asks the user, or with on_drive=False a folder that
    is lost with the machine. Elsewhere both are in PROJECT in the current folder.
    """
    if not re.fullmatch(r"[\w. -]+", project) or project.startswith("."):
        raise InputError(f"PROJECT is {project!r}; give it a plain name, such as my_speaker")
    here = Path.cwd()
    if in_colab() and on_drive:
        importlib.import_module("google.colab.drive").mount(str(here / "drive"))
        place = Workspace(here / "drive" / "MyDrive" / "wav2lip" / project, here / "work" / project)
    else:
        place = Workspace(here / project, here / project / "work")
    place.kept.mkdir(parents=True, exist_ok=True)
    place.fast.mkdir(parents=True, exist_ok=True)
    return place


def in_colab() -> bool:
    """Whether this runs in Google Colab."""
    try:
        return find_spec("google.colab") is not None
    except ModuleNotFoundError:  # not even a package google
        return False


def upload(folder: Path, what: str) -> Path:
    """Let the user choose files in the browser and put them into a folder; files that are there already stay.

    Returns: the newest file of the folder. Raises: InputError if there are none, or outside of Colab.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _files(folder):
        if not in_colab():
            raise InputError(f"{folder} holds no {what}; put it there and run this cell again")
        with contextlib.chdir(folder):
            importlib.import_module("google.colab.files").upload()
    if not _files(folder):
        raise InputError(f"no {what} was chosen; run this cell again and choose it")
    return _files(folder)[-1]


def download(file: Path) -> None:
    """Send a file to the user's computer, in Colab; elsewhere it is there already."""
    if in_colab():
        importlib.import_module("google.colab.files").download(str(file))


def given(path: str, field: str) -> Path:
    """A file or folder that was typed into a form. Raises: InputError with the field's name if it is not there."""
    found = Path(path).expanduser().resolve()
    if not found.exists():
        raise InputError(f"{field}: there is no {path}; in Colab, files on Drive are under /content/drive/MyDrive/")
    return found


def bring(files: Sequence[Path], root: Path, folder: Path) -> None:
    """Copy files below `root` to the same places below `folder`; what is there in the same size stays.

    Times are cut to whole seconds: Drive keeps no finer ones, and preprocessing would take a file with another time
    for another file.
    """
    for file in files:
        copy = folder / file.relative_to(root)
        told = file.stat()
        if not copy.exists() or copy.stat().st_size != told.st_size:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        os.utime(copy, ns=(told.st_mtime_ns // SECOND * SECOND,) * 2)


def _files(folder: Path) -> list[Path]:
    """The files of a folder, the newest last."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
