"""Google Drive: the folder DRIVE names."""

import os
from pathlib import Path


def mount(mountpoint: str) -> None:
    """Put the drive at a path, as MyDrive in it."""
    drive = Path(os.environ["DRIVE"])
    drive.mkdir(parents=True, exist_ok=True)
    Path(mountpoint).mkdir(exist_ok=True)
    link = Path(mountpoint) / "MyDrive"
    if not link.exists():
        link.symlink_to(drive)
