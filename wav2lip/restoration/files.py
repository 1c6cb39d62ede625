"""Restoration networks by the names that users know, in the places where their tools store them."""

from __future__ import annotations

from pathlib import Path

from wav2lip.errors import InputError
from wav2lip.types import PathType

FILES = {  # name in lower case to file name
    "gfpgan": "GFPGANv1.4.pth",
    "restoreformer": "RestoreFormer.pth",
    "realesrgan": "RealESRGAN_x2plus.pth",
}
FOLDERS = (".", "gfpgan/weights", "weights")  # searched in the checkpoint folder, then in the working directory


def find_restorer(name: str | None, checkpoint_dir: PathType = "checkpoints") -> str | None:
    """Return the file of a network by its name, or the name itself if it is a file's.

    Raises: InputError if the file of a known name is missing.
    """
    if name is None or name.lower() not in FILES or Path(name).is_file():
        return name
    file = FILES[name.lower()]
    for root in (Path(checkpoint_dir), Path()):
        for folder in FOLDERS:
            if (path := root / folder / file).is_file():
                return str(path)
    raise InputError(
        f"{name}: {file} is not in {checkpoint_dir}; run python -m wav2lip.weights fetch {checkpoint_dir} {file}, or "
        "give the path of its file"
    )
