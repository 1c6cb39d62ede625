"""Input folders: which files in them are inputs, and what a folder without any contains instead."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wav2lip.dataset.clip import AUDIO, FRAME_NAME
from wav2lip.media.suffixes import AUDIO_SUFFIXES, IMAGE_SUFFIXES, SILENT_VIDEO_SUFFIXES

log = logging.getLogger(__name__)

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".bz2", ".xz"})
# Folders that network drives, Windows and archivers keep beside the user's files, in lower case. Hidden ones, such as
# .Trashes, .ipynb_checkpoints and the ._ files of macOS, begin with a dot.
SYSTEM_NAMES = frozenset(
    {"@eadir", "#recycle", "#snapshot", "__macosx", "$recycle.bin", "system volume information", "lost+found"}
)


@dataclass(frozen=True)
class FolderScan:
    """Files below a folder."""

    root: Path
    files: list[Path]  # sorted; links to folders are followed, each folder once
    ignored: list[Path]  # hidden and system files and folders

    def with_suffix(self, suffixes: frozenset[str] | Sequence[str]) -> list[Path]:
        """Return the files with one of these suffixes, given in lower case."""
        return [path for path in self.files if path.suffix.lower() in suffixes]


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or belongs to the system."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def scan_folder(root: Path) -> FolderScan:
    """List the files below a folder, without hidden ones and those of the system, which are counted in a log line."""
    files: list[Path] = []
    ignored: list[Path] = []
    visited: set[tuple[int, int]] = set()
    folders: list[Path] = [root]
    links: list[Path] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)  # a folder counts under its own name before a link's
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        for path in _list(folder):
            if is_ignored(path.name):
                ignored.append(path)
            elif path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            else:
                files.append(path)
    if ignored:
        example = min(ignored).relative_to(root)
        log.info("%s: ignored %d hidden files and folders, such as %s", root, len(ignored), example)
    return FolderScan(root, sorted(files), ignored)


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except PermissionError as error:
        log.warning("%s: skipped, it cannot be read (%s)", folder, error.strerror)
        return []


def explain_without_video(scan: FolderScan) -> str:
    """Return what a folder without a video contains, and what to do with it."""
    with_audio = {path.parent for path in scan.files if path.name == AUDIO}
    crops = [path for path in scan.files if FRAME_NAME.fullmatch(path.name)]
    with_crops = {path.parent for path in crops}
    if clips := sorted(with_crops & with_audio):
        data_root = clips[0].parent.parent
        return (
            f"contains {len(clips)} clips of face crops with {AUDIO}, and no video: they are preprocessed already; "
            f"check them with python -m preprocess.doctor {data_root}, or train with data_root={data_root}"
        )
    if crops:
        return (
            f"contains {len(crops)} face crops in {len(with_crops)} folders without {AUDIO}, and no video; copy the "
            f"audio of its video into each folder as {AUDIO}, or give the videos"
        )
    for suffixes, noun, remedy in (
        (ARCHIVE_SUFFIXES, "archives", "unpack them"),
        (SILENT_VIDEO_SUFFIXES, "files without audio", "give videos with audio"),
        (IMAGE_SUFFIXES, "images", "give the videos that they are from"),
        (AUDIO_SUFFIXES, "audio files", "give videos of people who speak"),
    ):
        if found := scan.with_suffix(suffixes):
            return f"contains {len(found)} {noun}, such as {found[0].name}, and no video; {remedy}"
    if not scan.files:
        return "contains no video and no other file; check the path"
    ((suffix, _),) = Counter(path.suffix.lower() for path in scan.files).most_common(1)
    ending = f"with the ending {suffix}" if suffix else "without an ending"
    count = len(scan.files)
    return f"contains no video (mp4, mov, mkv, avi, webm, ...), most of its {count} files are {ending}; check the path"
