"""Fake uploads from and downloads to the folder of the environment variable COMPUTER."""

import os
import shutil
from pathlib import Path


def upload() -> dict[str, bytes]:
    """Copy all files of the computer to the current folder."""
    files = sorted(Path(os.environ["COMPUTER"]).iterdir())
    for file in files:
        shutil.copy(file, Path.cwd() / file.name)
    return {file.name: file.read_bytes() for file in files}


def download(filename: str) -> None:
    """Copy a file to the computer."""
    shutil.copy(filename, os.environ["COMPUTER"])
