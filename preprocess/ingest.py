"""Which videos there are, and what their clips are called."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath

from wav2lip.errors import InputError

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".3gp"}
    | {".ogv", ".vob", ".asf", ".mxf"}
)
LONE_CLIP = "00000"  # CLIP of a video that lies in no folder and so is its own group


@dataclass(frozen=True)
class Source:
    """One video to preprocess."""

    path: Path
    name: str  # relative to the folder of videos, with /; bytes that are no UTF-8 are written out
    clip: str  # GROUP/CLIP, no other video's even where upper and lower case count as one
    size: int  # bytes
    modified: int  # nanoseconds since 1970

    @property
    def fingerprint(self) -> str:
        """Changes when the file does."""
        return f"{self.size}-{self.modified}"


def find_videos(videos: str | PathLike[str]) -> list[Source]:
    """All videos under a folder, by the endings of their names, or the one file given; sorted by name.

    Raises: InputError if there is no such folder, or no video in it.
    """
    root = Path(videos)
    if root.is_file():
        paths, root = [root], root.parent
    elif root.is_dir():
        paths = _videos_under(root)
    else:
        raise InputError(f"{videos}: no such folder of videos; check videos=")
    if not paths:
        raise InputError(f"{videos}: holds no video (mp4, mov, mkv, avi, webm, ...); check videos=")
    paths = sorted(paths, key=lambda path: path.relative_to(root).as_posix())
    names = [_readable(path.relative_to(root).as_posix()) for path in paths]
    return [_source(path, name, clip) for path, name, clip in zip(paths, names, clip_ids(names), strict=True)]


def _videos_under(root: Path) -> list[Path]:
    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if len(files) > len(videos):
        log.info("%s: %d files are no videos by their names and are passed over", root, len(files) - len(videos))
    return videos


def _source(path: Path, name: str, clip: str) -> Source:
    try:
        status = path.stat()
    except FileNotFoundError:  # a link that leads nowhere: opening it gives the sentence
        return Source(path, name, clip, 0, 0)
    return Source(path, name, clip, status.st_size, status.st_mtime_ns)


def _readable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def clip_ids(names: list[str]) -> list[str]:
    """GROUP/CLIP for each video, from its path relative to the folder of videos.

    a/b.mp4 is a/b; b.mp4 is b/00000; a/b/c.mp4 is a__b/c. Blanks become _, since public tools cut file lists at
    them. Of names that would come out alike (a.mp4 beside a.mov) all keep their endings (a_mp4, a_mov), and if
    that is not enough, a few letters of a checksum.
    """
    shapes: list[Callable[[str], str]] = [
        lambda name: _clip_id(name, PurePosixPath(name).stem),
        lambda name: _clip_id(name, PurePosixPath(name).name.replace(".", "_")),
        lambda name: _clip_id(name, f"{PurePosixPath(name).stem}__{hashlib.sha256(name.encode()).hexdigest()[:8]}"),
    ]
    ids = [shapes[0](name) for name in names]
    for shape in shapes[1:]:
        taken = Counter(_alike(clip) for clip in ids)
        ids = [clip if taken[_alike(clip)] == 1 else shape(name) for clip, name in zip(ids, names, strict=True)]
    return ids


def _clip_id(name: str, stem: str) -> str:
    folders = PurePosixPath(name).parts[:-1]
    return f"{_plain('__'.join(folders))}/{_plain(stem)}" if folders else f"{_plain(stem)}/{LONE_CLIP}"


def _plain(part: str) -> str:
    part = re.sub(r"[\s\x00-\x1f\x7f]", "_", part)
    return f"_{part[1:]}" if part.startswith(".") else part  # hidden folders are ours: .partial


def _alike(clip: str) -> str:
    """Clips are alike if a file system without case takes them for one."""
    return clip.replace("/", "__").casefold()
