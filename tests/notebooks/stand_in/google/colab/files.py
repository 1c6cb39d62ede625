"""The user's computer: the folder COMPUTER names."""

import os
import shutil
from pathlib import Path


def upload() -> dict[str, bytes]:
    """Save all files of the computer to the current folder."""
    files = sorted(Path(os.environ["COMPUTER"]).iterdir())
    for file in files:
        shutil.copy(file, Path.cwd() / file.name)
    return {file.name: file.read_bytes() for file in files}


def download(filename: str) -> None:
    """Save a file on the computer."""
    shutil.copy(filename, os.environ["COMPUTER"])
