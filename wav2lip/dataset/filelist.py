"""File lists: text files with an entry per line, as this project, upstream, LRS2 and spreadsheets write them.

Text is UTF-8, UTF-16 or UTF-32, with or without a byte order mark; blank lines and comments are skipped. A line may
have Windows separators, a leading ./ or /, the folders of another machine as an absolute path, the ending of a video,
columns after it, separated by a comma, semicolon, tab, bar or blank, columns without a path before it, and blanks in
names.
"""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path, PurePosixPath

from wav2lip.errors import InputError, file_error

logger = logging.getLogger(__name__)

BYTE_ORDER_MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
BLANK = " \t\r\f\0\x1a\u200b\ufeff"  # and what editors, DOS and joined files leave at the ends of lines
COMMENT = re.compile(r"#(\s|#|$)|//+(\s|$)")
ABSOLUTE = re.compile(r"[\"']?([a-z]:)?[/\\]", re.IGNORECASE)  # path of this or another system
COLUMN_SEPARATOR = re.compile(r"[,;\t|]")
VIDEO_ENDING = re.compile(r"\.(mp4|mov|mkv|avi|webm|m4v|wav|txt)$", re.IGNORECASE)
HEADER_WORDS = {"path", "file", "filename", "file_name", "clip", "clip_id", "id", "name", "video", "folder"}


@dataclass(frozen=True)
class Line:
    """A line of a list that is not blank."""

    list: Path
    number: int  # from 1
    text: str

    def __str__(self) -> str:
        """Return the place for messages."""
        return f"{self.list}:{self.number}"


@dataclass(frozen=True)
class Entry:
    """A clip that a list names."""

    clip: str  # GROUP/CLIP below the data root
    line: Line


def read_lines(path: str | PathLike[str]) -> list[Line]:
    """Read the lines of a list that are not blank, stripped.

    Raises: InputError if the list is missing, empty or in another encoding.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such list; check the path, or run preprocess, which writes the lists of a data set"
        ) from error
    except OSError as error:
        raise file_error(error, path) from error
    try:
        texts = content.decode(guess_encoding(content)).splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8; save it in that encoding") from error
    stripped = [(number, text.strip().strip(BLANK)) for number, text in enumerate(texts, 1)]
    lines = [Line(path, number, text) for number, text in stripped if text and not COMMENT.match(text)]
    if not lines:
        raise InputError(f"{path}: is empty; preprocess more videos or edit the list")
    return lines


def guess_encoding(content: bytes) -> str:
    """Return the encoding of a text by its byte order mark, else by the zero bytes of names in ASCII."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    if len(content) > 1 and content[:1] != b"\0" and not any(content[1::2]):
        return "utf-16-le"
    return "utf-16-be" if len(content) > 1 and content[1:2] != b"\0" and not any(content[::2]) else "utf-8-sig"


def clean_name(name: str) -> str:
    """Return a name in a list with forward slashes, without quotes and without separators at its ends."""
    parts = name.strip().strip("\"'").replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def read_entries(path: str | PathLike[str], data_root: str | PathLike[str]) -> list[Entry]:
    """Read the clips of a file list, in its order.

    Of the ways to read a line, the first whose clip exists counts; without any, as beside a pack that was moved, the
    shortest. A name in a later column or below the folders of another machine is logged. A first line with the titles
    of columns is skipped.
    Raises: InputError if the list is missing, empty or in another encoding, or a clip is outside the data root.
    """
    lines = read_lines(path)
    if COLUMN_SEPARATOR.split(lines[0].text)[0].strip("\"' ").lower() in HEADER_WORDS and len(lines) > 1:
        lines = lines[1:]
    found = [(line, *_find_clip(line, Path(data_root))) for line in lines]
    guessed = [(line, clip) for line, clip, is_guessed in found if is_guessed]
    if guessed:
        line, clip = guessed[0]
        logger.warning(
            "%s: %d of %d lines name no clip below %s as they are; used, for example, %s for %s",
            path, len(guessed), len(lines), data_root, clip, line.text,
        )  # fmt: skip
    return [Entry(clip, line) for line, clip, _ in found]


def read_filelist(path: str | PathLike[str], data_root: str | PathLike[str]) -> list[str]:
    """Read the clip ids of a file list; see `read_entries`."""
    return [entry.clip for entry in read_entries(path, data_root)]


def _find_clip(line: Line, data_root: Path) -> tuple[str, bool]:
    """Return the clip of a line, and whether it is one of `_other_readings`."""
    candidates = list(dict.fromkeys(_readings(line.text, data_root)))
    if ".." in PurePosixPath(candidates[0]).parts:
        raise InputError(f"{line}: {line.text} is outside of the data root; name a folder below {data_root}")
    if candidates == [line.text]:  # the usual spelling, which needs no look at the disk
        return line.text, False
    others = (name for name in _other_readings(line.text) if ".." not in PurePosixPath(name).parts)
    shortest = next((clip for clip in reversed(candidates) if "/" in clip), candidates[-1])
    clip = next((clip for clip in chain(candidates, others) if (data_root / clip).is_dir()), shortest)
    return clip, clip not in candidates


def _readings(text: str, data_root: Path) -> Iterator[str]:
    """Yield the names that a line may mean: as it is, then with ever more cut off its end."""
    for root in (data_root, data_root.resolve()):
        if root.is_absolute() and Path(text).is_relative_to(root):
            text = Path(text).relative_to(root).as_posix()
    yield from _endings(text)
    for name in _cuts(COLUMN_SEPARATOR.split(text)[0]):
        yield from _endings(name)


def _other_readings(text: str) -> Iterator[str]:
    """Yield the names that a line means only if their clips exist.

    These are the end of an absolute path, and columns after one without a path.
    """
    first, *others = (column.strip() for column in COLUMN_SEPARATOR.split(text))
    for name in [first, *others] if "/" not in clean_name(first) else [first]:
        for clip in filter(lambda clip: "/" in clip, chain.from_iterable(map(_endings, _cuts(name)))):
            yield clip
            if ABSOLUTE.match(name):
                yield "/".join(clip.split("/")[-2:])


def _cuts(column: str) -> Iterator[str]:
    """Yield a column, then with ever more words cut off its end."""
    for count in range(len(column.split())):
        yield column.strip().rsplit(maxsplit=count)[0]


def _endings(name: str) -> Iterator[str]:
    cleaned = clean_name(name)
    yield cleaned
    yield VIDEO_ENDING.sub("", cleaned)
