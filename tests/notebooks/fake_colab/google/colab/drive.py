"""Fake Google Drive in the folder of the environment variable DRIVE."""

import os
from pathlib import Path


def mount(mountpoint: str) -> None:
    """Link the drive as MOUNTPOINT/MyDrive."""
    drive = Path(os.environ["DRIVE"])
    drive.mkdir(parents=True, exist_ok=True)
    Path(mountpoint).mkdir(exist_ok=True)
    link = Path(mountpoint) / "MyDrive"
    if not link.exists():
        link.symlink_to(drive)
