"""Chained files: Ogg, FLAC or Matroska files one after the other in one file, as recorders and `cat` write them.

Players play them as one. FFmpeg reads the links of such a chain with the header of the first one, so that links of
another sample rate, block size or codec setup are lost, and those of Matroska from the third on; here each link is a
file of its own.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

FLAC_START = b"fLaC\x00\x00\x00\x22"  # signature, and the header of the stream information, always first
OGG_PAGE = b"OggS\x00"  # signature and version
OGG_HEADER_BYTES = 27
OGG_FIRST_PAGE = 0x02  # flag of the first page of a logical stream
EBML_SIGNATURE = bytes.fromhex("1a45dfa3")
MATROSKA_SEGMENT = bytes.fromhex("18538067")
MATROSKA_TYPE = bytes.fromhex("4282")  # id of the document type in the header
MAX_EBML_HEADER_BYTES = 64


def find_links(path: Path, format_name: str) -> list[tuple[int, int]]:
    """Return begin and end in bytes of each link of a file; one link if it is not a chain.

    format_name: FFmpeg's name of its format.
    """
    size = path.stat().st_size
    find_starts = STARTS.get(format_name.partition(",")[0])
    if find_starts is None or not size:
        return [(0, size)]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        starts = list(find_starts(content))
    begins = [0, *starts[1:]]  # whatever precedes the first link, such as tags, is read with it
    return list(zip(begins, [*begins[1:], size], strict=True))


def _flac_starts(content: mmap.mmap) -> Iterator[int]:
    start = content.find(FLAC_START)
    while start >= 0:
        yield start
        start = content.find(FLAC_START, start + len(FLAC_START))


def _ogg_starts(content: mmap.mmap) -> Iterator[int]:
    """Yield where a first page follows pages of content; those of parallel streams follow each other."""
    was_first_page = False
    position = content.find(OGG_PAGE)
    while position >= 0:
        header = content[position : position + OGG_HEADER_BYTES]
        if len(header) < OGG_HEADER_BYTES:
            return
        is_first_page = bool(header[5] & OGG_FIRST_PAGE)
        if is_first_page and not was_first_page:
            yield position
        was_first_page = is_first_page
        end = position + OGG_HEADER_BYTES + header[26]
        end += sum(content[position + OGG_HEADER_BYTES : end])
        position = end if content[end : end + len(OGG_PAGE)] == OGG_PAGE else content.find(OGG_PAGE, end)


def _matroska_starts(content: mmap.mmap) -> Iterator[int]:
    """Yield where a header begins; a segment of known size is skipped, as it may contain others as attachments."""
    position = 0
    while content[position : position + 4] == EBML_SIGNATURE:
        yield position
        segment = _skip_ebml_element(content, position)
        is_segment = segment is not None and content[segment : segment + 4] == MATROSKA_SEGMENT
        end = _skip_ebml_element(content, segment) if segment is not None and is_segment else None
        position = _find_ebml_header(content, position + 4) if end is None else end


def _skip_ebml_element(content: mmap.mmap, begin: int) -> int | None:
    """Return the end of an element with an id of four bytes; None if it states no size."""
    first = content[begin + 4] if begin + 4 < len(content) else 0
    width = 9 - first.bit_length()  # bytes of the size
    mask = (1 << 7 * width) - 1
    size = int.from_bytes(content[begin + 4 : begin + 4 + width], "big") & mask
    return None if not first or size == mask else begin + 4 + width + size


def _find_ebml_header(content: mmap.mmap, begin: int) -> int:
    """Return the position of the next header of a file; the end if there is none."""
    position = content.find(EBML_SIGNATURE, begin)
    while position >= 0 and MATROSKA_TYPE not in content[position : position + MAX_EBML_HEADER_BYTES]:
        position = content.find(EBML_SIGNATURE, position + 4)
    return position if position >= 0 else len(content)


STARTS: dict[str, Callable[[mmap.mmap], Iterator[int]]] = {
    "flac": _flac_starts, "matroska": _matroska_starts, "ogg": _ogg_starts
}  # fmt: skip


class LinkFile(io.RawIOBase):
    """The bytes of one link as a file that can be read."""

    def __init__(self, path: Path, begin: int, end: int):
        """begin, end: in bytes."""
        self.name = str(path)
        self._file = path.open("rb")
        self._begin, self._size = begin, end - begin
        self._file.seek(begin)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        rest = self._size - self.tell()
        return self._file.read(rest if size < 0 else max(0, min(size, rest)))

    def tell(self) -> int:
        """Return the position in the link."""
        return self._file.tell() - self._begin

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in the link, and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        return self._file.seek(self._begin + max(0, start + offset)) - self._begin

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
