"""Find the input videos and derive their clip ids."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath

from preprocess.curation.filelists import replace_text
from wav2lip.dataset.input_folder import explain_without_video, scan_folder
from wav2lip.errors import InputError
from wav2lip.hashing import hash_file
from wav2lip.media.suffixes import SILENT_VIDEO_SUFFIXES, VIDEO_SUFFIXES

log = logging.getLogger(__name__)

SOURCES = "sources.json"  # file in the state folder
SINGLE_CLIP = "00000"  # CLIP of a video that lies in no folder and so is its own group


@dataclass(frozen=True)
class Source:
    """One input video."""

    path: Path
    name: str  # relative to the input folder, with /; bytes that are not UTF-8 are escaped
    clip: str  # GROUP/CLIP, unique even where upper and lower case count as the same
    size: int  # bytes
    modified: int  # nanoseconds since 1970
    digest: str = ""  # SHA-256 of the content; "": not computed yet, or the file cannot be read


def find_videos(videos: str | PathLike[str]) -> list[Source]:
    """Return all videos under a folder, by file name suffix, or the single given file; sorted by name.

    Raises: InputError if the folder does not exist or contains no video.
    """
    root = Path(videos)
    if root.is_file():
        paths, root = [root], root.parent
    elif root.is_dir():
        paths = _list_videos(root)
    else:
        raise InputError(f"{videos}: no such folder of videos; check the path")
    named = sorted((_escape_name(path.relative_to(root).as_posix()), path) for path in paths)
    names, paths = [name for name, _ in named], [path for _, path in named]
    return [_stat_source(path, name, clip) for path, name, clip in zip(paths, names, clip_ids(names), strict=True)]


def add_digests(sources: Sequence[Source], known: Mapping[str, Source]) -> list[Source]:
    """Return the sources with the digests of their content, read in threads.

    known: sources of an earlier run by name; one of the same size and modification time is not read again. Neither is
        a source that has a digest.
    """

    def digest(source: Source) -> str:
        if source.digest:
            return source.digest
        other = known.get(source.name)
        if other is not None and (other.size, other.modified) == (source.size, source.modified) and other.digest:
            return other.digest
        try:
            return hash_file(source.path)
        except OSError:  # The probe stage reports it.
            return ""

    with ThreadPoolExecutor() as pool:
        return [replace(s, digest=d) for s, d in zip(sources, pool.map(digest, sources), strict=True)]


def read_sources(path: Path) -> dict[str, Source]:
    """Return the sources in a file of `write_sources` by name, without their paths; without the file there is none."""
    if not path.exists():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["name"]: Source(Path(entry["name"]), **entry) for entry in entries}


def write_sources(path: Path, sources: Iterable[Source]) -> None:
    """Write all fields but the paths; an unchanged file is not touched."""
    entries = [{name: value for name, value in vars(source).items() if name != "path"} for source in sources]
    replace_text(path, json.dumps(entries, indent=0) + "\n")


def _list_videos(root: Path) -> list[Path]:
    scan = scan_folder(root)
    videos = scan.with_suffix(VIDEO_SUFFIXES | SILENT_VIDEO_SUFFIXES)
    if not videos:
        raise InputError(f"{root}: {explain_without_video(scan)}")
    if len(scan.files) > len(videos):
        log.info("%s: skipping %d files without a video suffix", root, len(scan.files) - len(videos))
    return videos


def _stat_source(path: Path, name: str, clip: str) -> Source:
    try:
        status = path.stat()
    except FileNotFoundError:  # A dangling link: the probe stage reports it.
        return Source(path, name, clip, 0, 0)
    return Source(path, name, clip, status.st_size, status.st_mtime_ns)


def _escape_name(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def clip_ids(names: list[str]) -> list[str]:
    """Derive GROUP/CLIP of each video from its path relative to the input folder.

    a/b.mp4 becomes a/b; b.mp4 becomes b/00000; a/b/c.mp4 becomes a__b/c. Blanks become _, since other tools split the
    lines of file lists at blanks. Names that collide (a.mp4 beside a.mov) all keep their suffixes (a_mp4, a_mov), and
    where that is not enough, get a few digits of a checksum.
    """
    schemes: list[Callable[[str], str]] = [
        lambda name: _clip_id(name, PurePosixPath(name).stem),
        lambda name: _clip_id(name, PurePosixPath(name).name.replace(".", "_")),
        lambda name: _clip_id(name, f"{PurePosixPath(name).stem}__{hashlib.sha256(name.encode()).hexdigest()[:8]}"),
    ]
    ids = [schemes[0](name) for name in names]
    for scheme in schemes[1:]:
        counts = Counter(_collision_key(clip) for clip in ids)
        ids = [
            clip if counts[_collision_key(clip)] == 1 else scheme(name) for clip, name in zip(ids, names, strict=True)
        ]
    return ids


def _clip_id(name: str, stem: str) -> str:
    folders = PurePosixPath(name).parts[:-1]
    return f"{_sanitize('__'.join(folders))}/{_sanitize(stem)}" if folders else f"{_sanitize(stem)}/{SINGLE_CLIP}"


def _sanitize(component: str) -> str:
    component = re.sub(r"[\s\x00-\x1f\x7f]", "_", component)
    return f"_{component[1:]}" if component.startswith(".") else component  # Hidden folders are reserved: .partial.


def _collision_key(clip: str) -> str:
    """Return the same key for clips whose folders are the same on a case-insensitive file system."""
    return clip.replace("/", "__").casefold()
