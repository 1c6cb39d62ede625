"""Opening of media files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from wav2lip.errors import InputError
from wav2lip.media.container.chain import LinkFile, find_links
from wav2lip.media.container.streams import find_audio_stream, find_video_stream
from wav2lip.types import OnProblem, PathType


def open_media(path: PathType) -> av.container.InputContainer:
    """Open a media file; InputError as in `probe`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; copy or download it again")
        # An absolute path cannot be parsed as a protocol.
        container = av.open(str(path.resolve()), metadata_errors="ignore")
        first, *others = find_links(path, container.format.name)
        if others:
            container.close()
            container = _open_link(path.resolve(), *first, container.format.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise InputError(f"{path}: permission denied; change its permissions") from error
    except (OSError, av.FFmpegError, ValueError) as error:
        cause = error_reason(error)
        raise InputError(f"{path}: not audio or video, or corrupt ({cause}); play it to check") from error
    if find_video_stream(container) is None and find_audio_stream(container) is None:
        container.close()
        raise InputError(f"{path}: not audio or video: no track can be decoded; give a video, image or audio file")
    return container


def _open_link(path: Path, begin: int, end: int, format_name: str) -> av.container.InputContainer:
    """Open one link of a chained file, from byte `begin` up to but not including `end`."""
    name = format_name.partition(",")[0]
    return av.open(LinkFile(path, begin, end), "r", format=name, metadata_errors="ignore")


def is_chain(container: av.container.InputContainer) -> bool:
    """Return True if a file is chained, see `wav2lip.media.container.chain`; the container has its first link."""
    return container.file is not None


def further_links(
    container: av.container.InputContainer, on_problem: OnProblem
) -> Iterator[av.container.InputContainer]:
    """Open the links of a chained file after the first one, each until the next."""
    if not is_chain(container):
        return
    path, name = Path(container.name), container.format.name
    for number, (begin, end) in enumerate(find_links(path, name)[1:], 2):
        try:
            link = _open_link(path, begin, end, name)
        except (av.FFmpegError, ValueError) as error:
            on_problem(f"{path}: part {number} of the joined files cannot be read ({error_reason(error)}); skipped")
            continue
        with link:
            yield link


def container_format(path: PathType) -> str:
    """Return FFmpeg's name of a file's format; InputError as in `probe`."""
    with open_media(path) as container:
        return container.format.name.partition(",")[0]


def error_reason(error: Exception) -> str:
    """Return the error's message without its number and path."""
    return getattr(error, "strerror", None) or str(error)
