"""Downloads that continue where an earlier one stopped."""

from __future__ import annotations

import http.client
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from wav2lip.errors import InputError

TIMEOUT_S = 20.0  # limit for connecting, and between two reads
MAX_FUTILE_ATTEMPTS = 5  # lost connections in succession that brought nothing
CHUNK_BYTES = 1 << 20

log = logging.getLogger(__name__)


def download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    """Download a file, and put it in place after a check.

    The content is collected in `path` with the suffix .partial, with which a later call continues.
    check: raises InputError for wrong content; then the partial file is deleted.
    Raises: InputError if the download fails.
    """
    partial = path.with_name(f"{path.name}.partial")
    futile = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        done = partial.stat().st_size
        while not _continue(url, partial):
            futile = 0 if partial.stat().st_size > done else futile + 1
            done = partial.stat().st_size
            if futile == MAX_FUTILE_ATTEMPTS:
                raise InputError(f"{url}: the connection breaks off again and again; try again later")
            log.info("connection lost after %d bytes, continuing", done)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{url}: download failed ({error}); run the command again to continue, or copy the file to {path}"
        ) from error
    try:
        check(partial)
    except InputError:
        partial.unlink()
        raise
    os.replace(partial, path)


def _continue(url: str, partial: Path) -> bool:
    """Append what is missing to a partial file; returns False if the connection was lost before the end."""
    done = partial.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return True  # nothing is missing, or the check will find the file too long
        raise
    with response, partial.open("ab" if response.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as file:
        expected = file.tell() + int(response.headers.get("Content-Length", 0))
        try:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
        except (http.client.IncompleteRead, ConnectionError, TimeoutError) as error:
            file.write(getattr(error, "partial", b""))
        return file.tell() >= expected
